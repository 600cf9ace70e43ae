"""The HTTP service. It never loads torch."""
