"""Runs many people's clips through preprocessing, training, evaluation and rendering; see __main__.py."""
