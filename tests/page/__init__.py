"""The page in a real Chromium, with the real service behind it."""
