"""Kinds of media files that people have, made from one clip, read, and compared with it."""
