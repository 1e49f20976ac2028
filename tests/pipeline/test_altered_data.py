"""Stages refuse data that was altered after it was written, also where DVC restores it as sound."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clones import digests, sh
from damaged_models import flip

pytestmark = pytest.mark.pipeline


@contextmanager
def altered(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    before, mode = path.read_bytes(), path.stat().st_mode
    assert change(before) != before, "the premise"
    path.chmod(0o644)
    path.write_bytes(change(before))
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(0o644)
        path.write_bytes(before)
        path.chmod(mode)


def last_lines_swapped(raw: bytes) -> bytes:
    *lines, second, last = raw.splitlines(keepends=True)
    return b"".join([*lines, last, second])


def refused(repo: Path, stage: str, problem: str) -> None:
    before = digests(repo / "models")
    done = sh(repo, "python", f"stages/{stage}.py", ok=False)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert digests(repo / "models") == before


@pytest.mark.parametrize(
    ("stage", "file", "problem"),
    [
        ("train", "data/processed/vocab.txt", "embeddings.safetensors: not as a stage wrote it"),
        ("vocab", "data/processed/vectors/words.txt", "belongs to another words.txt"),
        ("evaluate", "models/main/vocab.txt", "models/main: not a sound model: vocab.txt"),
    ],
)
def test_a_reordered_list_of_words_is_refused(
    stage: str, file: str, problem: str, repo: Path
) -> None:
    with altered(repo / file, last_lines_swapped):
        refused(repo, stage, problem)


def test_other_labels_beside_the_papers_are_refused(repo: Path) -> None:
    def swapped(raw: bytes) -> bytes:
        return raw.replace(b"cs.CL", b"cs.XX").replace(b"cs.CV", b"cs.CL").replace(b"XX", b"CV")

    with altered(repo / "data/splits/labels.json", swapped):
        refused(repo, "train", "train.parquet: not as a stage wrote it: belongs to another ../spl")


@pytest.mark.parametrize(
    "file", ["data/processed/embeddings.safetensors", "data/splits/val.parquet"]
)
def test_an_object_altered_in_the_cache_is_refused(file: str, repo: Path) -> None:
    path = repo / file
    sound = path.read_bytes()
    md5 = hashlib.md5(sound).hexdigest()
    cached = repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    try:
        with altered(cached, lambda raw: flip(raw, 0.5)):
            path.unlink()
            sh(repo, "dvc", "checkout", "-q", file)
            assert path.read_bytes() != sound, "DVC restored the altered object"
            refused(repo, "train", f"{file}: not as a stage wrote it: changed since it was written")
    finally:
        path.unlink()
        path.write_bytes(sound)
    assert "up to date" in sh(repo, "dvc", "status", file).stdout
