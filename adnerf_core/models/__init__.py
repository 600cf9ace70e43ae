"""Talking heads: the fields, the audio encoder and the renderer of one subject."""
