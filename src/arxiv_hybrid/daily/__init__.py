"""Papers that arrive day by day: their store, predictions, checks, and the next model."""
