"""What the data is worth: label noise, duplicates, drift."""
