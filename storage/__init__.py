"""Persistent storage: rows in a database and files in an object store. Independent of HTTP, of video and of the core."""
