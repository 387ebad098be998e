"""The judge's options in pytest."""
