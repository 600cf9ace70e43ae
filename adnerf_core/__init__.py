"""The core: makes a subject from a video of a person, and renders videos of it from speech. Works on files and tensors only."""
