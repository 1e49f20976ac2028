"""Where papers come from: arXiv's API, a metadata dump, a CSV file, a synthetic corpus."""
