"""Benchmark scripts as modules, and the exit status of their commands."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType

from conftest import ROOT


def load(name: str) -> ModuleType:
    """Import a script of benchmarks/, which import each other by their names."""
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def status(main: Callable[[list[str]], int | None], arguments: list[str]) -> int:
    """The exit status of a command."""
    try:
        return main(arguments) or 0
    except SystemExit as stop:
        return int(stop.code or 0)
