"""Datasets with a known truth, read in one common form for every protocol."""
