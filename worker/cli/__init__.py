"""Subcommands of `adnerf` for operators: API keys, owners, and the object store."""
