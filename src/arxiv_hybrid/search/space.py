"""The space file: which values of which parameters a search may try, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import Field, StrictFloat, StrictInt, model_validator

from arxiv_hybrid.params import Strict
from arxiv_hybrid.params.load import parse_section
from arxiv_hybrid.params.yaml_text import parse_yaml, read_yaml
from arxiv_hybrid.system.errors import UserError, shown

Number = Annotated[StrictInt | StrictFloat, Field(allow_inf_nan=False)]
Space = dict[str, BaseDistribution]
Check = Callable[[dict[str, Any]], object]  # of all parameters; raises UserError

DIGITS = 4  # of a number that a trial runs with, unless the space needs more
_MOST_VALUES = 100  # of a range of integers that are all checked
_FORMS = "{low: 0.1, high: 0.5}, also with step or log: true, or a list of values"


class Range(Strict):
    """The numbers from `low` to `high`, in steps or on a logarithmic scale if wanted."""

    low: Number
    high: Number
    step: Number | None = None
    log: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: true needs a positive low, and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step} must be positive, and at most high - low")
        return self


def read_space(
    path: Path, params: dict[str, Any], check: Check, excluded: Mapping[str, str] | None = None
) -> Space:
    """Read a space file: a range or a list of values for each parameter, by its dotted name.

    params: nested, as in params.yaml; they decide which names exist. check: of all parameters, with
    one of them changed. excluded: sections that must not be searched, each with the reason.
    Raises UserError with one line on anything that no trial could run with.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected parameters with ranges, such as dropout: {_FORMS}")
    space = {}
    for key, value in content.items():
        where, name = f"{path}: {key}", str(key)
        require_parameter(name, params, where)
        if reason := (excluded or {}).get(name.split(".")[0]):
            raise UserError(f"{where}: cannot be searched: {reason}")
        space[name] = _distribution(value, where, _takes_fractions(name, value, params, check))
        for candidate in _candidates(space[name]):
            check(with_value(params, name, candidate))
    return space


def read_settings(arguments: Collection[str], params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with those that arguments such as dropout=0.3 set; UserError if malformed."""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"-S {argument}: expected PARAMETER=VALUE, such as dropout=0.3")
        require_parameter(name, params, f"-S {name}")
        params = with_value(params, name, parse_yaml(value, f"-S {name}"))
    return params


def require_parameter(name: str, params: Mapping[str, Any], where: str) -> None:
    """Raise UserError if params.yaml has no such parameter, or if it is a section of several."""
    found: Any = params
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            close = get_close_matches(name, list(_names(params)), 1)
            raise UserError(
                f"{where}: unknown parameter{f'; is {close[0]} meant?' if close else ''}"
            )
        found = found[part]
    if isinstance(found, Mapping) or (isinstance(found, list) and any(map(_is_mapping, found))):
        inside = [f"{name}.{key}" for key in found] if isinstance(found, Mapping) else []
        names = f"; name one of {', '.join(inside)}" if inside else ""
        raise UserError(f"{where}: not one parameter{names}")


def with_value(params: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Nested parameters with one of them changed; `params` is not modified."""
    first, _, rest = name.partition(".")
    return {**params, first: with_value(params[first], rest, value) if rest else value}


def used_values(space: Space, sampled: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a trial runs with: numbers of `DIGITS` digits, inside their ranges."""
    return {name: _rounded(space[name], value) for name, value in sampled.items() if name in space}


def override(name: str, value: Any) -> str:
    """A parameter and its value as `dvc exp run -S` reads them."""
    if value is None or isinstance(value, bool):
        return f"{name}={'null' if value is None else str(value).lower()}"
    if isinstance(value, str) and not all(c.isalnum() or c in "_-./" for c in value):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name}='{quoted}'"
    return f"{name}={value}"


def _rounded(distribution: BaseDistribution, value: Any) -> Any:
    if not isinstance(distribution, FloatDistribution) or distribution.step:
        return value
    low, high = distribution.low, distribution.high
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _names(params: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _distribution(value: Any, where: str, fractions: bool) -> BaseDistribution:
    """What Optuna draws from; fractions: a range of integers has the numbers between them, too."""
    if isinstance(value, list):
        return _choices(value, where)
    if not isinstance(value, dict):
        raise UserError(f"{where}: {shown(value)} is no range; write {_FORMS}")
    wanted = parse_section(value, Range, where)
    low, high, step, log = wanted.low, wanted.high, wanted.step or 1, wanted.log
    integers = isinstance(low, int) and isinstance(high, int) and isinstance(step, int)
    if fractions or not integers:
        return FloatDistribution(float(low), float(high), log=log, step=wanted.step)
    last = low + (high - low) // step * step  # Optuna warns if steps miss `high`
    return IntDistribution(int(low), int(last), log=log, step=int(step))


def _choices(values: list[Any], where: str) -> BaseDistribution:
    if len(values) < 2:
        raise UserError(f"{where}: a list needs at least two values")
    for value in values:
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise UserError(
                f"{where}: {shown(value)} is not allowed: the values of a list are numbers, texts, "
                "true, false or null"
            )
    if len(set(values)) < len(values):
        raise UserError(f"{where}: a value appears twice in {shown(values)}")
    return CategoricalDistribution(values)


def _takes_fractions(name: str, value: Any, params: dict[str, Any], check: Check) -> bool:
    """Whether a parameter with a range of integers may also be a number between them."""
    if not isinstance(value, dict) or "step" in value:
        return False
    low = value.get("low")
    if isinstance(low, bool) or not isinstance(low, int):
        return False
    try:
        check(with_value(params, name, low + 0.5))
    except UserError:
        return False
    return True


def _candidates(distribution: BaseDistribution) -> list[Any]:
    """The values to check: all of a list or a short range of integers, else those at both ends."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        every = range(low, high + 1, step)
        return list(every if len(every) <= _MOST_VALUES else (*every[:2], *every[-2:]))
    if isinstance(distribution, FloatDistribution):
        return [distribution.low, distribution.high]
    raise TypeError(type(distribution).__name__)
