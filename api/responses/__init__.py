"""Writing responses: resources as JSON, byte ranges, event streams."""
