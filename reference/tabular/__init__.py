"""The tabular algorithms: central and independent Q-learning."""
