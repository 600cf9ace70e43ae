"""HTTP words only; never loads torch."""
