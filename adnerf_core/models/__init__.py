"""Models of one subject: audio encoder, fields, and the rendering of whole frames."""
