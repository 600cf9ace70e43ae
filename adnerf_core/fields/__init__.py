"""Radiance fields and their encodings."""
