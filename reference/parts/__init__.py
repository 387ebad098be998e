"""What pseudocode takes for granted: networks, replay, exploration, the training loop."""
