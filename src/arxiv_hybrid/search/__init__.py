"""Search for good parameters with Optuna: each trial is an experiment of DVC."""

STORAGE = "OPTUNA_STORAGE"  # the environment variable, also of Optuna's own commands
JOURNAL = "optuna.journal"  # at the repository's root, if no other storage is named
