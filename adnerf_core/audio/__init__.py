"""From a waveform to the code that drives the lips."""
