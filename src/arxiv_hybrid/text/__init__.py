"""Text: tokens, the vocabulary, augmentation."""
