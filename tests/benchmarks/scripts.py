"""Benchmark scripts as modules, and the exit status of their commands."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType

from conftest import DEFAULTS, ROOT


def load(name: str) -> ModuleType:
    """Import a script of benchmarks/, which import each other by their names.

    It starts from the shipped parameters, whatever those of the workspace are.
    """
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.import_module(name)
    if workload := sys.modules.get("workload"):
        workload.ROOT = DEFAULTS
    return module


def status(main: Callable[[list[str]], int | None], arguments: list[str]) -> int:
    """The exit status of a command."""
    try:
        return main(arguments) or 0
    except SystemExit as stop:
        return int(stop.code or 0)
