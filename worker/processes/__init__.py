"""The processes that run jobs: polling, Celery, beat, and their supervisor."""
