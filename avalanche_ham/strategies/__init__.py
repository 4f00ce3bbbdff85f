"""Sec. 3, and every method it is compared with, each an Avalanche strategy."""
