"""From arXiv metadata to a trained, measured, explained paper classifier."""

__version__ = "0.1.0"
