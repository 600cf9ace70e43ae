"""A synthetic speaker, and a run through the whole service over HTTP."""
