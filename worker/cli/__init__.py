"""Subcommands of `adnerf` for operators: API keys, owners, the object store, backups, and what all commands share."""
