"""A synthetic speaker, and the main job from end to end over HTTP."""
