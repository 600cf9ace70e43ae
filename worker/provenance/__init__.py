"""Where a video comes from: watermark, content credentials, verification."""
