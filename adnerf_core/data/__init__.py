"""A dataset on disk, and the ray batches that training draws from it."""
