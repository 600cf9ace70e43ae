"""What is done: the use cases that clients ask for (service), and the worker that runs the jobs (pipeline, local)."""
