"""JSON from files of users: numbers keep their digits, and every problem is a short ValueError."""

from __future__ import annotations

import json
from typing import Any


class Number:
    """A number as it is written: `2511.10000` keeps its zeros, and any number of digits is read."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number)


def parse_json(text: str) -> Any:
    """Parse JSON, numbers as `Number`; ValueError if it is not JSON, or nested too deeply."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
