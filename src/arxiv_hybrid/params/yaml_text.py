"""YAML of users, read as DVC reads it (YAML 1.2), with bounds on its size.

In YAML 1.2, `010` is ten, `0o10` is eight, `1e3` is a number, and `yes`, `off` and `1:30` are text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.system.errors import UserError

_LARGEST = 256 << 10  # bytes of a file
_MOST_VALUES = 100_000  # in a file, with every alias written out
_DEEPEST = 40  # levels of nesting
_TEXT_UNIT = 100  # characters of a text that count as one value
_TAG = "tag:yaml.org,2002:"
_RESOLVERS = {  # as in ruamel.yaml, which DVC uses
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[0-9][0-9_]*", "-+0123456789"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}


def read_yaml(path: Path, missing: str = "") -> Any:
    """The content of a file; UserError if it is no sound YAML, too large, or nested too deeply.

    missing: what a user should know if there is no such file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found{f'; {missing}' if missing else ''}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise UserError(
            f"{path}: is larger than {_LARGEST >> 10} KiB; is this a file of parameters?"
        )
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The content of a text; UserError that names `where` if it is no sound YAML."""
    try:
        return _parse(text)
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # values that do not fit their type, such as 2025-02-30 or `!!int x`, raise various errors
        raise UserError(f"{where}: not valid YAML: {_short(error)}") from None


def _short(error: Exception) -> str:
    if "integer string conversion" in str(error):
        return "a number has more than 4,300 digits"
    known = isinstance(error, (yaml.YAMLError, ValueError))
    return str(error) if known else "a value does not fit its tag"


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The number of values in a node, aliases written out, and its depth; YAMLError on too many.

    known: the results so far, by the identity of the node; zeros while a node is measured.
    """
    if (before := known.get(id(node))) is not None:
        if before == (0, 0):
            raise yaml.YAMLError(f"an alias of line {_line(node)} refers to what contains it")
        return before
    known[id(node)] = 0, 0
    if isinstance(node, yaml.ScalarNode):
        size, depth = 1 + len(node.value) // _TEXT_UNIT, 1
    else:
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        measured = [_measure(part, known) for part in parts]
        size = 1 + sum(part for part, _ in measured)
        depth = 1 + max((part for _, part in measured), default=0)
    if size > _MOST_VALUES:
        raise yaml.YAMLError(f"more than {_MOST_VALUES:,} values, counting those of aliases")
    if depth > _DEEPEST:
        raise yaml.YAMLError(f"nested more than {_DEEPEST} levels deep")
    known[id(node)] = size, depth
    return size, depth


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Loader(yaml.SafeLoader):
    """A safe loader of YAML 1.2 that rejects duplicate keys instead of keeping the last."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's interface)
        first: [(tag, pattern) for tag, pattern in resolvers
                if tag.removeprefix(_TAG) not in _RESOLVERS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }  # fmt: skip


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    """An integer; `int` with base 0 would not read 010."""
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    digits = text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
    value = int(digits[2:] if base != 10 else digits, base)
    return -value if text.startswith("-") else value


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == f"{_TAG}merge":
            continue
        key = loader.construct_object(key_node)
        if not isinstance(key, (str, int, float)):
            raise yaml.YAMLError(f"a key in line {_line(key_node)} is not a name")
        if key in seen:
            raise yaml.YAMLError(f"key {key!r} appears twice, again in line {_line(key_node)}")
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


for _name, (_pattern, _first) in _RESOLVERS.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
