"""Renders videos of a trained subject from speech."""
