"""A reference video becomes a dataset: tracked, parsed, aligned with its sound."""
