"""The operator's commands for API keys and owners, and what all commands of `adnerf` share with them."""
