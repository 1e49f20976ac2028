"""From text to token ids: tokens, vocabulary, word vectors, augmentation."""
