"""Claims about one update of tabular Q-learning, independent and central."""
