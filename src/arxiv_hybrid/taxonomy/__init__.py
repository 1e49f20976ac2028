"""arXiv's categories, and the sets of classes that are made from them."""
