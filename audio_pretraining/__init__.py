"""Makes the prior of the sound-to-lips encoder from nothing: synthetic speech, and a mouth that goes with its phonemes."""
