"""Nested mappings, such as params and metrics: round, merge, flatten."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from typing import Any

DECIMALS = 6


def rounded(value: Any) -> Any:
    """Round every float in nested dicts and lists to `DECIMALS` places; NaN and inf become None."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return rounded(value.tolist())
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    return value


def deep_merge(
    base: Mapping[str, Any], changes: Mapping[str, Any], *, atomic: Collection[str] = ()
) -> dict[str, Any]:
    """Return `base` with nested `changes` merged in; neither argument is modified.

    atomic: keys whose mappings are replaced as a whole, not merged.
    """
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if key not in atomic and isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = deep_merge(result[key], value, atomic=atomic)
        else:
            result[key] = copy.deepcopy(value)
    return result


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to one level with dotted keys; floats are rounded."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = rounded(value)
    return flat
