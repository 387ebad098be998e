"""The judge: claims about algorithms, and verdicts on anyone's implementation."""
