"""Tests of the HTTP service, through a real server."""
