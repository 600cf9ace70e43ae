"""Subcommands of `adnerf` for operators: API keys, owners, the object store, and backups."""
