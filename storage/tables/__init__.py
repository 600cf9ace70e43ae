"""Queries and state changes, one module for each table."""
