"""Files of word vectors: every format, and the errors for damaged files."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import merged

from arxiv_hybrid.params import parse
from arxiv_hybrid.system import streams
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.vectors.files import VectorFile, read_vectors
from arxiv_hybrid.vectors.published import vector_file
from arxiv_hybrid.vectors.train import word_vectors

WORDS = [",", "the", "model", "of", "state-of-the-art", "zebra", "é", "last"]
VECTORS = np.random.default_rng(0).normal(0, 0.4, (len(WORDS), 6)).astype(np.float32)


def lines(end: str = "") -> list[str]:
    return [
        f"{word} {' '.join(f'{x:.5f}' for x in vector)}{end}\n"
        for word, vector in zip(WORDS, VECTORS, strict=True)
    ]


def read(path: Path, *wanted: str, dim: int = 6) -> VectorFile:
    return read_vectors(path, set(wanted) or set(WORDS), dim=dim, option="glove.source")


def write(path: Path, text: list[str]) -> Path:
    path.write_text("".join(text), encoding="utf-8")
    return path


def header(text: list[str]) -> list[str]:
    return [f"{len(WORDS)} 6\n", *text]


@pytest.mark.parametrize(
    "kind", ["glove", "word2vec", "fasttext", "windows", "byte order mark", "no last line end"]
)
@pytest.mark.parametrize("block", [20, 8 << 20])
def test_each_format_gives_the_same_vectors(
    tmp_path: Path, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_SIZE", block)
    text = {
        "glove": lines(),
        "word2vec": header(lines()),
        "fasttext": header(lines(" ")),
        "windows": lines("\r"),
        "byte order mark": ["\ufeff" + lines()[0], *lines()[1:]],
        "no last line end": [*lines()[:-1], lines()[-1].rstrip("\n")],
    }[kind]
    file = read(write(tmp_path / "v.txt", text))
    assert file.words == WORDS
    assert file.lines == len(WORDS)
    np.testing.assert_allclose(file.vectors, VECTORS, atol=1e-5)


def test_only_wanted_words_are_kept_in_file_order(tmp_path: Path) -> None:
    file = read(write(tmp_path / "v.txt", lines()), "zebra", "model", "absent")
    assert file.words == ["model", "zebra"]
    np.testing.assert_allclose(file.vectors, VECTORS[[2, 5]], atol=1e-5)
    empty = read(tmp_path / "v.txt", "absent")
    assert empty.words == []
    assert empty.vectors.shape == (0, 6)


def test_compressed_files_are_read_in_place(tmp_path: Path) -> None:
    text = "".join(lines()).encode()
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "v.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.6B.4d.txt", "the 1 2 3 4\n")
        archive.writestr("glove.6B.6d.txt", text)
        archive.writestr("glove.6B.16d.txt", "the 1\n")
        archive.writestr("__MACOSX/._glove.6B.6d.txt", "x")
    for name in ("v.txt.gz", "v.zip"):
        assert read(tmp_path / name).words == WORDS
    assert read(tmp_path / "v.zip", dim=4).words == ["the"]
    with pytest.raises(UserError, match=r"6B\.4d.*6B\.6d.*expected one file"):
        read(tmp_path / "v.zip", dim=5)
    assert {p.name for p in tmp_path.iterdir()} == {"v.txt.gz", "v.zip"}


def test_repeated_words_and_words_with_spaces(tmp_path: Path) -> None:
    text = lines()
    text.insert(3, "the 9 9 9 9 9 9\n")
    text.insert(1, "the model 8 8 8 8 8 8\n")
    text.insert(1, "of a@b.c 8 8 8 8 8 8\n")
    file = read(write(tmp_path / "v.txt", text))
    assert file.words == WORDS
    assert file.repeated == 1
    np.testing.assert_allclose(file.vectors, VECTORS, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"<html><head><title>301 Moved Permanently</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
        (b"PK\x03\x04rest", "the compressed file is truncated or damaged"),
        (b"the 1 2 3 4\n", "vectors of 4 numbers, glove.dim is 6; set glove.dim=4"),
        (b"8 4\nthe 1 2 3 4\n", "vectors of 4 numbers"),
        (b", 1 2 3 4 5 6\nthe 1 2 3\nof 1 2 3 4 5 6\n", "the vector of 'the' is not 6 numbers"),
        (b", 1 2 3 4 5 6\nthe 1 2 x 4 5 6\n", "the vector of 'the' is not 6 numbers"),
        (b", 1 2 3 4 5 6\nthe 1 2 nan 4 5 6\n", "the vector of 'the' is not 6 numbers"),
        (b", 1 2 3 4 5 6\nthe 1 2 1e60 4 5 6\n", "the vector of 'the' is not 6 numbers"),
        (b"the\t1\t2\t3\t4\t5\t6\n", "line 1 is not a word followed by numbers"),
        (b"3 6\nthe 1 2 3 4 5 6\n, 1 2 3 4 5 6\n", "promises 3 words, the file has 2"),
        (b", 1 2 3 4 5 6\nunwanted 1 2 3", "the last line is truncated"),
        (b"", "contains no vectors"),
    ],
)
def test_unusable_files_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "glove.source" in str(caught.value)


def test_glove_source_can_be_a_file(tmp_path: Path, default_content: dict[str, Any]) -> None:
    write(tmp_path / "v.txt", lines())

    def vectors(**glove: Any) -> tuple[list[str], Any]:
        params = parse(merged(default_content, {"glove": glove}), "params")
        file = vector_file(params.glove, tmp_path, lambda: tmp_path)
        return word_vectors([["the", "zebra", "x"]], params.glove, seed=1, file=file)

    words, matrix = vectors(source="v.txt", dim=6)
    assert words == ["the", "zebra"]
    np.testing.assert_allclose(matrix, VECTORS[[1, 5]], atol=1e-5)
    assert vectors(source=str(tmp_path / "v.txt"), dim=6)[0] == words
    with pytest.raises(UserError, match=r"v\.txt: vectors of 6 numbers, glove\.dim is 300"):
        vectors(source="v.txt")
    digest = hashlib.sha256((tmp_path / "v.txt").read_bytes()).hexdigest()
    assert vectors(source="v.txt", dim=6, sha256=digest)[0] == words
    with pytest.raises(UserError, match=rf"v\.txt: sha256 is {digest}, expected 0000"):
        vectors(source="v.txt", dim=6, sha256="0" * 64)
    with pytest.raises(UserError, match=r"glove\.2024\.dolma has no vectors with 50 dimensions"):
        vectors(source="glove.2024.dolma", dim=50)
    with pytest.raises(UserError, match=r"glove\.source: 'gloove' is not allowed"):
        vectors(source="gloove")
    write(tmp_path / "other.txt", ["unseen 1 2 3 4 5 6\n"])
    with pytest.raises(UserError, match="none of the papers' 3 words"):
        vectors(source="other.txt", dim=6)


def test_truncated_archive_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "v.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.txt", "".join(lines()) * 50)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"the \.zip file is truncated or damaged"):
        read(path)
