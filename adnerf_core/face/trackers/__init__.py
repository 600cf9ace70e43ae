"""Face trackers, one backend per file."""
