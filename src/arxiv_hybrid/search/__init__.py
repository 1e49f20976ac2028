"""Search for good parameters with Optuna: each trial is an experiment of DVC."""
