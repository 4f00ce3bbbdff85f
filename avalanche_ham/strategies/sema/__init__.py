"""SEMA (Wang et al. 2025): adapters that are added where the features have shifted."""
