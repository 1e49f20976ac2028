"""What `auto` in params.yaml stands for: the recipe of a model, from recipes.yaml."""

from __future__ import annotations

import copy
from functools import cache
from importlib.resources import files
from typing import Any

from arxiv_hybrid.system import fast_yaml, shipped
from arxiv_hybrid.system.nested import deep_merge

AUTO = shipped.AUTO
NAMES = ("ours", "published")
ATOMIC = ("class_weights",)  # a mapping that is one value


def recipe(name: str, model: str) -> dict[str, Any]:
    """All values of a recipe for a model, nested as in params.yaml.

    For an unknown model these are the recipe's values for every model.
    """
    content = _recipes()
    architecture = {"architecture": content["architectures"].get(model, {})}
    values = deep_merge(architecture, content[name]["every"], atomic=ATOMIC)
    return deep_merge(values, content[name].get(model, {}), atomic=ATOMIC)


@cache
def _recipes() -> dict[str, Any]:
    text = files("arxiv_hybrid.params").joinpath("recipes.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = fast_yaml.parse(text)
    return content


def resolve(content: dict[str, Any]) -> dict[str, Any]:
    """Parameters with every `auto` that a recipe knows replaced; `content` is not modified."""
    if "pretrained" in content:
        content = {**content, "pretrained": shipped.encoder_of(content)}
    model = shipped.model_of(content, content.get("pretrained"))
    if "model" in content:
        content = {**content, "model": model}
    name = content.get("recipe")
    # validation reports a wrong name
    values = recipe(name if name in NAMES else NAMES[0], str(model))
    if model == shipped.PRETRAINABLE and content.get("pretrained"):
        values = deep_merge(values, _recipes()["from_encoder"])
        values.pop("architecture")
    if _is_multi_label(content.get("labels")):
        values |= _recipes()["multi_label"]
    if content.get("epochs") != AUTO:  # explicit epochs are neither more nor less
        values["min_steps"] = 0
    return _filled(content, values)


def _is_multi_label(labels: Any) -> bool:
    """Whether papers may have several classes; see `schema.Labels.multi_label`."""
    if not isinstance(labels, dict):
        return False
    separated = labels.get("from") == "column" and labels.get("separator") is not None
    return labels.get("from") == "listed" or separated


def _filled(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    result = dict(content)
    for key, value in values.items():
        if result.get(key) == AUTO:
            result[key] = copy.deepcopy(value)
        elif key not in ATOMIC and isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _filled(result[key], value)
    return result
