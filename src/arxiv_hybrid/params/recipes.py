"""What `auto` in params.yaml stands for: the recipe of a model, by recipes.yaml."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

import yaml

from arxiv_hybrid.system.nested import deep_merge

AUTO = "auto"
NAMES = ("ours", "published")
ATOMIC = ("class_weights",)  # a mapping that is one value


def recipe(name: str, model: str) -> dict[str, Any]:
    """All values of a recipe for a model, nested as in params.yaml; `every` for an unknown one."""
    text = files("arxiv_hybrid.params").joinpath("recipes.yaml").read_text(encoding="utf-8")
    chosen = yaml.safe_load(text)[name]
    return deep_merge(chosen["every"], chosen.get(model, {}), atomic=ATOMIC)


def resolve(content: dict[str, Any]) -> dict[str, Any]:
    """Parameters with every `auto` that a recipe knows replaced; `content` stays as it is."""
    name = content.get("recipe")
    known = name if name in NAMES else NAMES[0]  # what is wrong is told by the validation
    return _filled(content, recipe(known, str(content.get("model"))))


def _filled(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    result = dict(content)
    for key, value in values.items():
        if result.get(key) == AUTO:
            result[key] = copy.deepcopy(value)
        elif key not in ATOMIC and isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _filled(result[key], value)
    return result
