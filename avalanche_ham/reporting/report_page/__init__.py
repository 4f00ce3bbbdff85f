"""``ham report``: all records of a folder as one page that needs no network."""

from avalanche_ham.reporting.report_page.page import report_page

__all__ = ["report_page"]
