"""Tests of the worker: the pipeline, its processes, and what happens when they are killed."""
