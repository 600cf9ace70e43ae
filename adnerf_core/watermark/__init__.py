"""An invisible number in the pixels of a video, and its detection."""
