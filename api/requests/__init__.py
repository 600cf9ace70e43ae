"""Reading requests: bodies, files, uploads, idempotency keys."""
