"""Algorithms in which every agent learns by itself, as if it were alone."""
