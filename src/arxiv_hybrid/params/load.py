"""Reading params.yaml: one clear line for whatever is wrong with it."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from arxiv_hybrid.params.recipes import ATOMIC, AUTO, resolve
from arxiv_hybrid.params.schema import Params, Section
from arxiv_hybrid.params.yaml_text import read_yaml
from arxiv_hybrid.system.errors import UserError, shown
from arxiv_hybrid.system.nested import deep_merge
from arxiv_hybrid.system.shipped import PRETRAINABLE, model_of
from arxiv_hybrid.taxonomy.label_sets import MERGED, OTHER

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SHARED_BY_MEMBERS = frozenset(
    {
        "pretrained",
        "fetch",
        "labels",
        "split",
        "augment",
        "glove",
        "vocab",
        "ensemble",
        "evaluate",
        "tracking",
    }
)
_KIND = re.compile(
    r"^(list|dict|literal)\[|^(bool|float|int|str|constrained-\w+)$"
)  # in pydantic's reports


def load(path: Path) -> Params:
    """Read and validate a params.yaml; raise UserError with one line if it is not valid."""
    params = parse(read_params(path), path.name)
    for member in params.ensemble.members:
        for_member(params, member.name)  # a wrong override fails now, not after an hour
    return params


def for_member(params: Params, name: str) -> Params:
    """The parameters of one ensemble member: the root's, with its own overrides merged in.

    A member that starts from the encoder has the encoder's widths, and a v6 no `lstm_hidden`,
    whatever `architecture` says: the default members suit every model.
    Raises UserError if `ensemble.members` has no such name, or a member overrides a key that
    does not exist at the root.
    """
    for member in params.ensemble.members:
        if member.name == name:
            overrides = member.model_extra or {}
            where = f"params.yaml: ensemble.members[{name}]"
            # not what the member's recipe and model say
            shared = {"augment": params.augment.model_dump(), "pretrained": params.pretrained}
            content = _merge_overrides(params.written, overrides) | shared
            if model_of(content, params.pretrained) == PRETRAINABLE:
                widths = content["architecture"]
                unused = list(widths) if params.pretrained else ["lstm_hidden"]
                content["architecture"] = {**widths, **dict.fromkeys(unused, AUTO)}
            return parse(content, where)
    names = ", ".join(member.name for member in params.ensemble.members)
    raise UserError(f"params.yaml: ensemble.members has no {shown(name)}; it has {names}")


def read_params(path: Path) -> dict[str, Any]:
    """The content of a file of parameters, not validated; UserError if it is no mapping."""
    content = read_yaml(path, "it holds every parameter of the pipeline")
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def load_section(path: Path, kind: type[Section]) -> Section:
    """Read a YAML file that is one section, such as the examples' params.yaml."""
    return parse_section(read_params(path), kind, path.name)


def parse_section(content: Any, kind: type[Section], where: str) -> Section:
    """Validate a mapping as one section; where: names the mapping's origin in the error line."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from None


def parse(content: dict[str, Any], where: str) -> Params:
    """Validate a mapping, with each `auto` replaced by the value in the model's recipe.

    where: names the mapping's origin in the error line.
    """
    content = _renamed(content)
    try:
        params = Params.model_validate(resolve(content))
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from None
    _check_class_weights(content.get("class_weights"), params, where)
    params._written = content
    return params


def _check_class_weights(written: Any, params: Params, where: str) -> None:
    """Raise UserError if the user, not the recipe, weighs a class that the run does not have."""
    sets = params.labels.definitions
    if not isinstance(written, dict) or sets is None:
        return
    members = set(chain(*sets.values()))
    known = {*sets, *members, *(MERGED[name] for name in members if name in MERGED)}
    for name in written:
        if name not in known and not (name == OTHER and params.labels.outside == OTHER):
            raise UserError(f"{where}: class_weights: {name} is not a class; use {', '.join(sets)}")


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the old key `labels.scheme` as `labels.from`."""
    labels = content.get("labels")
    if not isinstance(labels, dict) or "scheme" not in labels or "from" in labels:
        return content
    labels = {**labels, "from": labels["scheme"]}
    del labels["scheme"]
    return {**content, "labels": labels}


def _one_line(error: ValidationError) -> str:
    """The first problem of a pydantic report, with its key, and how many more there are."""
    problems = error.errors(include_url=False)
    # a union reports every one of its types: keep those that failed deepest inside the value
    same = [entry for entry in problems if _key(entry) == _key(problems[0])]
    deepest = max(len(entry["loc"]) for entry in same)
    same = [entry for entry in same if len(entry["loc"]) == deepest]
    first = same[0]
    key = ".".join(_key(first, whole=True))
    others = [entry["msg"].removeprefix("Input should be ") for entry in same[1:]]
    message = ", or ".join([first["msg"].removeprefix("Value error, "), *others])
    kind = first["type"]
    if kind == "extra_forbidden" and key == "labels.scheme":
        text = "labels.scheme: the key is now labels.from, with the same values; remove one of them"
    elif kind == "extra_forbidden":
        text = f"{key}: unknown key"
    elif kind == "missing":
        text = f"{key}: missing"
    elif not key:
        text = message
    elif isinstance(first["input"], dict):  # a whole section, too long for one line
        text = f"{key}: {message}"
    else:
        text = f"{key}: {shown(first['input'])} is not allowed: {message[0].lower()}{message[1:]}"
    more = len({entry["loc"][:1] for entry in problems}) - 1
    return f"{text} (and {more} more)" if more else text


def _key(entry: ErrorDetails, *, whole: bool = False) -> tuple[str, ...]:
    """The key of a problem: the parameter; with `whole`, also the position inside its value."""
    parts = [str(part) for part in entry["loc"]]
    kinds = [number for number, part in enumerate(parts) if _KIND.match(part)]
    if not whole and kinds:
        return tuple(parts[: kinds[0]])
    return tuple(part for number, part in enumerate(parts) if number not in kinds)


def _merge_overrides(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Merge a member's overrides into the root parameters; UserError for shared ones."""
    for key in overrides:
        if key in SHARED_BY_MEMBERS:
            raise UserError(f"params.yaml: ensemble.members: {key} is shared by all members")
    return deep_merge(base, overrides, atomic=ATOMIC)
