"""Subcommands of `adnerf` for operators: API keys and owners."""
