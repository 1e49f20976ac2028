"""Where papers come from: arXiv's API, the metadata dump, a CSV file, or a generator."""
