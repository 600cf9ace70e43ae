"""Use cases: what a client can ask for, without HTTP."""
