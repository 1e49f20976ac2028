"""Text: tokenizer, vocabulary, augmentation."""
