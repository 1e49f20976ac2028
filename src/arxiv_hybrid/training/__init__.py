"""Batches, losses, optimizers, the training loop and its distribution over processes."""
