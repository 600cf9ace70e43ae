"""Files: video and sound through ffmpeg, images, and the folder of a run."""
