"""Cameras, rays, and changes of the view."""
