"""The specification: every algorithm line by line as its pseudocode."""
