"""The program `adnerf`: the commands for users of a service, and those of its operators."""
