"""From a trained subject and speech to a video."""
