"""Errors, kills, flipped bytes and odd input, put where they hurt."""
