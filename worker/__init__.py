"""Use cases, and the loop that carries jobs out."""
