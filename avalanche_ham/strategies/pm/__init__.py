"""Perturb-and-Merge: updates shrunk by one number each, and trained to bear it."""
