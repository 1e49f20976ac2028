"""Digests of users' files: every change is noticed, and what has not changed is not read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from arxiv_hybrid.system import fingerprints
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.fingerprints import read_params, write_fingerprints


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str | None]:
    """The fingerprint that a run records for a name; files count as settled."""
    monkeypatch.setattr(fingerprints, "SETTLED", -60.0)

    (tmp_path / "tmp").mkdir()

    def run(name: Any) -> str | None:
        out = tmp_path / "out" / "inputs.json"
        memory = tmp_path / "tmp" / "memory.json"
        write_fingerprints(out, {"glove.extra_text": name}, tmp_path, memory)
        value: str | None = json.loads(out.read_text())["glove"]["extra_text"]
        return value

    return run


def with_old_times(path: Path, content: bytes) -> None:
    """Replace the content and restore the times, as some tools do."""
    status = path.stat()
    time.sleep(0.02)  # the next tick of the file system's clock
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rewrite(path: Path) -> None:
    path.write_bytes(b"xyz")


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"xyz")
    path.with_name("new").replace(path)


@pytest.mark.parametrize(
    "change", [rewrite, append, replace, lambda path: with_old_times(path, b"xyz")]
)
def test_every_change_of_a_file_is_noticed(
    change: Callable[[Path], None], digest: Callable[[Any], str | None], tmp_path: Path
) -> None:
    path = tmp_path / "papers.csv"
    path.write_bytes(b"abc")
    before = digest("papers.csv")
    assert before == digest(str(path)) == digest("papers.csv")
    change(path)
    assert digest("papers.csv") != before
    with_old_times(path, b"abc")
    assert digest("papers.csv") == before, "the content counts, not the time"


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_every_change_in_a_folder_is_noticed(
    change: str, digest: Callable[[Any], str | None], tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    before = digest("encoder")
    (folder / ".b.123.tmp").write_text("left by a killed process")
    assert digest("encoder") == before
    if change == "edit":
        (folder / "b").write_text("c")
    elif change == "add":
        (folder / "c").write_text("c")
    elif change == "remove":
        (folder / "b").unlink()
    else:
        (folder / "b").rename(folder / "c")
    assert digest("encoder") not in (before, None)


@pytest.mark.parametrize(
    "name",
    [None, 3, {"a": 1}, "", "none.csv", "corpus", "glove.6B", "~nosuchuser/a", "a\0b", "a" * 5000,
     "pipe", "loop", "/dev/zero", "file/inside"],
)  # fmt: skip
def test_what_is_no_file_has_no_digest_and_no_error(
    name: Any, digest: Callable[[Any], str | None], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    assert digest(name) is None or name == "", "the root is a folder"


def test_every_file_of_a_list_has_its_digest(tmp_path: Path, digest: Callable[[Any], Any]) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    both = digest(["a", "b"])
    assert both == [digest("a"), digest("b")]
    assert digest(["b", "a"]) == both[::-1], "their order counts"
    assert digest(["a", "none", 3]) == [both[0], None, None]
    (tmp_path / "b").write_bytes(b"three")
    assert digest(["a", "b"])[0] == both[0]
    assert digest(["a", "b"])[1] != both[1]


def test_an_unchanged_file_is_not_read_again(
    digest: Callable[[Any], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "papers.csv"
    path.write_bytes(b"abc")
    before = digest("papers.csv")
    memory = tmp_path / "tmp" / "memory.json"
    written = memory.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints.hashlib, "sha256", lambda: pytest.fail("it was read"))
        assert digest("papers.csv") == before
    assert memory.stat().st_mtime_ns == written
    for damaged in ("{", "[]", '{"a": 1}', "\0"):
        memory.write_text(damaged)
        assert digest("papers.csv") == before


def test_a_file_that_changes_within_a_clock_tick_is_read_again(tmp_path: Path) -> None:
    path, memory = tmp_path / "papers.csv", tmp_path / "memory.json"
    path.write_bytes(b"abc")
    write_fingerprints(tmp_path / "out.json", {"texts": "papers.csv"}, tmp_path, memory)
    assert not memory.exists()


def test_a_memory_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "SETTLED", -60.0)
    (tmp_path / "file").write_text("")
    (tmp_path / "memory.json").mkdir()
    for memory in (tmp_path / "memory.json", tmp_path / "absent" / "memory.json"):
        write_fingerprints(tmp_path / "out.json", {"texts": "file"}, tmp_path, memory)
        assert json.loads((tmp_path / "out.json").read_text())["texts"]
    assert capsys.readouterr().out.count("cannot be written") == 1
    assert not (tmp_path / "absent").exists(), "a folder .dvc would look like a repository"
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", None])
def test_params_that_cannot_be_read_are_a_users_mistake(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read as YAML"):
        read_params(path)
    path.write_text("- a list")
    assert read_params(path) == {}


def test_the_stage_that_always_runs_loads_no_large_library(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("fetch: {source: csv, path: a.csv}\nglove: 3\n")
    (tmp_path / "a.csv").write_text("title\n")
    (tmp_path / "src").symlink_to(ROOT / "src")
    code = (
        f"import runpy, sys; sys.path[0] = {str(ROOT / 'stages')!r};"
        f"runpy.run_path({str(ROOT / 'stages/inputs.py')!r}, run_name='__main__');"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"yaml", "arxiv_hybrid"} <= loaded
    assert not loaded & {"pandas", "numpy", "torch", "pydantic", "mlflow", "dvc", "requests"}
    recorded = json.loads((tmp_path / "data/inputs.json").read_text())
    assert len(recorded["fetch"]["path"]) == 64
    assert recorded["glove"] == {"source": None, "extra_text": None}
