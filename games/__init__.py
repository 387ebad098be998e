"""The games that the field argues with, exact and batched."""
