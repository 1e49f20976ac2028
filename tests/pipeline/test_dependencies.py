"""The dependencies in dvc.yaml are what the stages import; packages depend in one direction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

SRC = ROOT / "src"
PACKAGE = SRC / "arxiv_hybrid"
# Lowest first: a package imports only from those before it.
ORDER = [
    "system", "taxonomy", "params", "data", "text", "sources", "audit", "vectors", "ops", "models",
    "inference", "training", "evaluation", "reporting", "tracking",
    "serving", "search", "daily",
]  # fmt: skip
ASIDE = {"scratch", "time_series"}  # the examples' own packages; nothing imports them
PIPELINES = {
    "dvc.yaml": "stages",
    "pretraining/dvc.yaml": "pretraining",
    "examples/time_series/dvc.yaml": "examples/time_series",
    "examples/next_word/dvc.yaml": "examples/next_word",
}
# Modules that change no output of a stage, each with the reason.
WITHOUT_EFFECT = {
    "params": "stages track the values in force; stage resolve lists the package itself",
    "paths": "paths are the outputs in dvc.yaml",
    "tracking": "a log: DVC's outputs do not depend on it",
    "system.agreement": "ends processes that would train on different things, or does nothing",
    "system.digests": "checks that files are as they were written, the same for all stages",
    "system.cells": "how texts of tables are escaped, the same for all stages",
    "system.errors": "messages",
    "system.fast_yaml": "reads this project's own files, as PyYAML does: test_fast_yaml holds it",
    "system.files": "how outputs are written, the same for all stages",
    "system.git": "describes the repository",
    "system.identity": "removes temporary files of killed processes",
    "system.nested": "rounds and merges mappings, the same for all stages",
    "system.number_file": "keeps numbers on disk",
    "system.process": "settings for speed",
    "system.redaction": "messages",
    "system.runtime": "settings for speed",
    "system.ticker": "messages",
    "system.watched": "tells a search the scores; nothing is read back",
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules of the library that a file imports directly, functions and type hints included."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        modules |= {
            name for name in names if name.split(".")[0] == "arxiv_hybrid" and file_of(name)
        }
    return frozenset(modules)


@cache
def file_of(module: str) -> Path | None:
    path = SRC / module.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def has_effect(module: str, *, params_too: bool) -> bool:
    name = module.removeprefix("arxiv_hybrid").lstrip(".")
    exempt = [m for m in WITHOUT_EFFECT if not (params_too and m == "params")]
    return name != "" and not any(name == m or name.startswith(f"{m}.") for m in exempt)


def data_files(source: Path) -> Iterator[Path]:
    """Files of the package that a module reads: those whose name, or folder, it mentions."""
    text = source.read_text(encoding="utf-8")
    for path in source.parent.rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc", ".typed"}:
            folder = path.relative_to(source.parent).parts[0]
            if f'"{path.name}"' in text or f'"{folder}"' in text or f'"{folder}/' in text:
                yield path


def needed(script: Path) -> set[str]:
    """Source and data files, relative to the repository, that decide what a script writes."""
    params_too = script.stem == "resolve"  # the only stage that writes the recipes' values
    files: set[str] = set()
    reached: set[str] = set()
    # and the script beside it that stages of a folder share
    waiting = [script, *(f for f in script.parent.glob("_*.py") if f.stem in script.read_text())]
    while waiting:
        source = waiting.pop()
        for module in imports(source) - reached:
            if has_effect(module, params_too=params_too):
                reached.add(module)
                file = file_of(module)
                assert file is not None
                waiting.append(file)
                if not is_only_a_docstring(file):
                    files.add(str(file.relative_to(ROOT)))
                files |= {str(path.relative_to(ROOT)) for path in data_files(file)}
    return files


def is_only_a_docstring(file: Path) -> bool:
    return file.name == "__init__.py" and len(ast.parse(file.read_text()).body) == 1


def stages() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (pipeline, name, stage.get("do", stage))
        for pipeline in PIPELINES
        for name, stage in yaml.safe_load((ROOT / pipeline).read_text())["stages"].items()
    ]


def library_deps(pipeline: str, stage: dict[str, Any]) -> list[str]:
    folder = (ROOT / pipeline).parent
    paths = [(folder / dep).resolve().relative_to(ROOT) for dep in stage["deps"]]
    return [str(path) for path in paths if path.parts[0] == "src"]


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@pytest.mark.parametrize(
    ("pipeline", "name", "stage"), stages(), ids=[f"{p}:{n}" for p, n, _ in stages()]
)
def test_a_stage_depends_on_what_it_imports_and_on_nothing_else(
    pipeline: str, name: str, stage: dict[str, Any]
) -> None:
    script = (ROOT / pipeline).parent / stage["cmd"].split()[1]
    files, deps = needed(script), library_deps(pipeline, stage)
    missing = sorted(f for f in files if not any(covers(dep, f) for dep in deps))
    superfluous = sorted(dep for dep in deps if not any(covers(dep, f) for f in files))
    assert (missing, superfluous) == ([], []), f"{pipeline}: {name}: (missing, superfluous)"
    assert any(Path(dep).name == script.name for dep in stage["deps"])


def test_every_source_dependency_exists() -> None:
    for pipeline, name, stage in stages():
        for dep in library_deps(pipeline, stage):
            assert (ROOT / dep).exists(), f"{pipeline}: {name}: {dep}"


def test_the_closure_runs_through_params_and_data_files() -> None:
    files = needed(ROOT / "stages/resolve.py")
    assert "src/arxiv_hybrid/params/recipes.yaml" in files
    assert "src/arxiv_hybrid/params/schema.py" in files
    assert "src/arxiv_hybrid/text/thesaurus.txt" in needed(ROOT / "stages/augment.py")
    assert "src/arxiv_hybrid/sources/lexicon.yaml" in needed(ROOT / "stages/fetch.py")
    assert "src/arxiv_hybrid/reporting/templates/audit.html" in needed(ROOT / "stages/audit.py")


def test_packages_import_downwards_only() -> None:
    for path in PACKAGE.rglob("*.py"):
        package = path.relative_to(PACKAGE).parts[0]
        if package not in ORDER:
            continue
        for module in imports(path):
            target = module.split(".")[1] if "." in module else ""
            if target in ORDER:
                assert ORDER.index(target) <= ORDER.index(package), f"{path}: {module}"
            else:
                assert target not in ASIDE, f"{path}: {module}"


def test_module_imports_are_acyclic() -> None:
    graph = {path: {file_of(m) for m in imports(path)} - {path} for path in PACKAGE.rglob("*.py")}
    # a package's __init__ re-exports its modules, which may import their siblings through it
    finished: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, " -> ".join(p.stem for p in (*above, path))
        if path not in finished:
            for target in graph[path]:
                assert target is not None
                visit(target, (*above, path))
            finished.add(path)

    for path in graph:
        visit(path, ())


def test_every_package_has_its_place() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == {*ORDER, *ASIDE, *({"commands"} & packages)}


def test_only_search_imports_optuna() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "search":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) optuna", text, flags=re.MULTILINE), path


def test_only_tracking_imports_mlflow_and_only_commands_and_stages_know_paths() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        package = path.relative_to(PACKAGE).parts[0]
        if package != "tracking":
            assert not re.search(r"^\s*(import|from) mlflow", text, flags=re.MULTILINE), path
        if package != "paths.py":
            assert "data/raw" not in text, path
            assert "metrics/plots" not in text, path
        if package in ORDER:
            assert "arxiv_hybrid.paths" not in imports(path), path


def test_stages_are_short_and_do_nothing_when_imported() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 80, path
    shared = ast.parse((ROOT / "stages/_stage.py").read_text(encoding="utf-8"))
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Expr, ast.If)
    assert all(isinstance(node, allowed) for node in shared.body)
    for node in shared.body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), "a docstring, not a call"
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING"
