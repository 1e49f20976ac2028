"""Word vectors: trained, downloaded or read from a file, and the embedding matrix."""
