"""Data quality: label noise, duplicates, leakage, drift."""
