"""Made-up records for tables and plans."""

from made_up_records import archive_of, setup, shelf, with_setup

__all__ = ["archive_of", "setup", "shelf", "with_setup"]
