"""Conversion between datasets and the folders that AD-NeRF's own preprocessing writes."""
