"""Face trackers, one backend a file."""
