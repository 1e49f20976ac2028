"""The values in force: every `auto` replaced by the recipe's value, for people and DVC."""

from __future__ import annotations

from typing import Any

import yaml

from arxiv_hybrid.params.load import for_member
from arxiv_hybrid.params.schema import Params

# the parameters that training reads; a test compares them with stage resolve
_TRAINING: dict[str, Any] = {
    **dict.fromkeys((
        "seed", "model", "dropout", "word_dropout", "learning_rate", "batch_size", "accumulate",
        "epochs", "min_steps", "patience", "weight_decay", "gradient_clip", "label_smoothing",
        "class_weights", "loss", "thresholds", "mixup", "embeddings", "pretrained", "optimizer",
        "scheduler", "precision", "device", "processes", "architecture",
    ), True),
    "glove": {"learning_rate_scale"},
    "vocab": {"title_length", "abstract_length"},
}  # fmt: skip


def values_in_force(params: Params) -> dict[str, Any]:
    """All parameters that training reads, by model, and those of augmentation.

    Keys: `train` for the main model, `members` by name, `augment`.
    """
    return {
        "train": training_values(params),
        "members": {
            member.name: training_values(for_member(params, member.name))
            for member in params.ensemble.members
        },
        "augment": params.augment.model_dump(mode="json"),
    }


def to_yaml(values: dict[str, Any]) -> str:
    """The content of params.resolved.yaml."""
    header = "# The values in force, written by stage resolve. Edit params.yaml instead.\n"
    return header + yaml.safe_dump(values, sort_keys=False)


def training_values(params: Params) -> dict[str, Any]:
    """The parameters that training reads, for one model."""
    values: dict[str, Any] = params.model_dump(mode="json", include=_TRAINING)
    return values | {"architecture": params.architecture.given()}
