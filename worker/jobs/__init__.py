"""Running jobs: claim, lease, progress, and the pipeline that calls the core."""
