"""A run: what it is, where it lies, how it is made, and the record that it leaves."""
