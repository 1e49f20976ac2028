"""The table of papers: columns, identifiers, labels, splits."""
