"""The table of papers: schema, identifiers, labels, splits."""
