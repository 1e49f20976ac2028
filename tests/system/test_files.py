"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from arxiv_hybrid.system import files
from arxiv_hybrid.system.errors import UserError


def test_json_is_sorted_rounded_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.json"
    files.write_json(path, {"b": np.float64(1 / 3), "a": [np.int64(2), float("nan")]})
    assert path.read_text() == '{\n  "a": [\n    2,\n    null\n  ],\n  "b": 0.333333\n}\n'
    assert json.loads(path.read_text()) == files.read_json(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    files.write_json(path, {"a": 1})
    before = path.read_bytes()

    def interrupted() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]


def test_a_missing_stage_output_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: not found; run `dvc repro`"):
        files.read_parquet(tmp_path / "none.parquet")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": "\xff"}', b'{"a":' * 100_000])
def test_damaged_json_of_a_stage_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(UserError, match=r"m\.json: not as a stage wrote it: .*`dvc repro -f`"):
        files.read_json(tmp_path / "m.json")


@pytest.mark.parametrize("line", ["", "a\x0bb", "a\x1cb", "a\x85b", "a\u2028b", "a\rb"])
def test_only_line_feeds_end_lines(line: str, tmp_path: Path) -> None:
    files.write_lines(tmp_path / "lines.txt", ["first", line, "last", ""])
    assert files.read_lines(tmp_path / "lines.txt") == ["first", line, "last", ""]
    files.write_lines(tmp_path / "lines.txt", [])
    assert files.read_lines(tmp_path / "lines.txt") == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755, 0o444])
def test_an_existing_file_keeps_its_mode_and_owner(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    before = path.stat()
    with files.atomic(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600, "nobody else reads half a file"
        temporary.write_text("after")
    after = path.stat()
    assert path.read_text() == "after"
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid
    )  # fmt: skip
    assert after.st_ino != before.st_ino, "replaced, not written over"


def test_without_the_right_to_keep_the_group_another_group_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    (tmp_path / "out.csv").write_text("before")
    (tmp_path / "out.csv").chmod(0o664)
    monkeypatch.setattr(os, "chown", forbidden)
    files.write_text(tmp_path / "out.csv", "after")
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o644


def test_a_file_mounted_by_itself_is_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:  # what the kernel says of a mounted file
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    path = tmp_path / "out.csv"
    path.write_text("before, and longer")
    before = path.stat().st_ino
    monkeypatch.setattr(os, "replace", busy)
    files.write_text(path, "after")
    assert (path.read_text(), path.stat().st_ino) == ("after", before)
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    files.write_text(tmp_path / "new" / "out.csv", "text")
    assert (tmp_path / "new" / "out.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_links_stay_and_the_file_they_name_is_replaced(tmp_path: Path) -> None:
    target, link, second = tmp_path / "far" / "target.csv", tmp_path / "link", tmp_path / "second"
    target.parent.mkdir()
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(Path("far") / "target.csv")
    second.symlink_to(link)
    files.write_text(second, "after")
    assert (link.is_symlink(), second.is_symlink()) == (True, True)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("after", 0o640)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "far", "link", "second", "target.csv",
    ]  # fmt: skip


def test_a_link_to_nothing_creates_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new.csv")
    files.write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new.csv").read_text() == "text"
    (tmp_path / "far").symlink_to("nowhere/new.csv")
    with pytest.raises(UserError, match=r"far: a link to .*/nowhere/new\.csv, whose folder"):
        files.write_text(tmp_path / "far", "text")
    assert not (tmp_path / "nowhere").exists()


def test_a_link_into_the_cache_is_replaced_and_the_cache_kept(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text("before")
    (tmp_path / "cached").chmod(0o444)
    (tmp_path / "link").symlink_to("cached")
    files.write_text(tmp_path / "link", "after")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "after"
    assert (tmp_path / "cached").read_text() == "before"


def test_what_cannot_be_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked").symlink_to("folder")
    for name in ("loop", "folder", "linked"):
        with pytest.raises(OSError, match=f"{name}'") as raised, files.atomic(tmp_path / name):
            pytest.fail("the work began")
        assert raised.value.filename == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "linked", "loop"]


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that opening to write does not wait
    try:
        files.write_text(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("name", ["~nosuchuser/papers.csv", "~no such/x", "~nosuchuser"])
def test_the_home_of_nobody_is_a_user_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such user"):
        files.user_file(tmp_path, name)
    assert files.user_file(tmp_path, "a~b") == tmp_path / "a~b"
