"""A table's missing runs as jobs of a cluster's queue; the runs themselves know nothing of it."""
