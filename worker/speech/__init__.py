"""The voices of this worker: the engines that the settings allow, and their announcement to the API."""
