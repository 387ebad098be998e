"""Algorithms with critics that know more than an agent does."""
