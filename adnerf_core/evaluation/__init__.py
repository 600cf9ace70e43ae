"""Figures and pictures on held-out footage, and the report on them."""
