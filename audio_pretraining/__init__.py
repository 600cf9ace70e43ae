"""Makes the pretrained audio encoder from synthetic speech and a model of the mouth that follows its phonemes."""
