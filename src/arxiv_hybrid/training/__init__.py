"""Batches, losses, the training loop and what it needs from the machine."""
