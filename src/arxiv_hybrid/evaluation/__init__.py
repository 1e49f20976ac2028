"""Evaluation: scores, baselines, ensembles, attention, occlusion, label issues."""
