"""What is kept: rows in a database, files in an object store. Knows nothing of video, of HTTP or of the core."""
