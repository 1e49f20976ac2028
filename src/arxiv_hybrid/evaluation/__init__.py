"""Scores, plots, explanations, the ensemble and the linear baseline."""
