"""Exact decision procedures and structural proofs."""
