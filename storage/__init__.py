"""State: rows in a database, bytes in an object store."""
