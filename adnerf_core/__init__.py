"""The core: a person's video becomes a subject, speech becomes a video of that person. Files and tensors only."""
