"""Sec. 4: tables and figures, from records alone."""
