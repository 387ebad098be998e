"""Claims about games: seeds, masks, ends of episodes, parallel copies."""
