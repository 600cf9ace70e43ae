"""Tests of the client and of the commands that use it, against a real service with the stub core."""
