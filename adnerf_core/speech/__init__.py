"""Speech from text: the script of a video, the engines that read it, and its captions."""
