"""Measures finished runs on held-out footage, and reports the results."""
