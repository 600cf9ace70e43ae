"""An invisible watermark, a number in the pixels of a video: embedding and detection."""
