"""Files that are broken, absurd or hostile, made from a seed, and what the real service does with each of them."""
