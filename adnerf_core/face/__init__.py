"""Faces in pictures: tracking, landmarks, and the shape of the lips."""
