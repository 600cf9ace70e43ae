"""The command `adnerf`: to run a service, and to use one."""
