"""YAML read ten times as fast as PyYAML does by default.

For files of this project and of DVC, and for parameters that are only compared or recorded: those
that are used are read by `params.yaml_text`, which has bounds and better messages.
"""

from __future__ import annotations

from typing import Any

import yaml

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_BRACKETS = 1000  # in a text
_MOST_DASHES = 100  # in a line


def parse(text: str) -> Any:
    """The content of a text; yaml.YAMLError if it is no YAML, or is nested too deeply."""
    # libyaml recurses without a limit, and tens of thousands of levels end the process
    brackets = text.count("[") + text.count("{")
    deep = brackets > _MOST_BRACKETS or any(
        line.count("- ") + line.count("? ") > _MOST_DASHES for line in text.splitlines()
    )
    try:
        return yaml.load(text, yaml.SafeLoader if deep else _FAST)  # noqa: S506 (both are safe)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
