"""Training a talking head on a dataset."""
