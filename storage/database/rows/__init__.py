"""The tables, by subject; storage/database/models.py is what others import them from."""
