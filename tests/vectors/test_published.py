"""Published word vectors: URLs, checksums, mirrors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import merged
from fake_server import FakeServer, serving, vectors_zip

from arxiv_hybrid.params import parse
from arxiv_hybrid.system.downloads import RemoteFile
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.vectors import published
from arxiv_hybrid.vectors.files import read_vectors
from arxiv_hybrid.vectors.published import vector_file

CONTENT = vectors_zip()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(files={"/a/f.zip": CONTENT}) as running:
        yield running


def glove(content: dict[str, Any], **changes: Any) -> Any:
    return parse(merged(content, {"glove": changes}), "params").glove


def test_published_name_is_downloaded_and_read_from_the_zip(
    server: FakeServer,
    tmp_path: Path,
    default_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = RemoteFile("glove.6B.zip", (f"{server.address}/a/f.zip",), len(CONTENT), SHA256)
    monkeypatch.setattr(published, "GLOVE_6B", local)
    path = vector_file(
        glove(default_content, source="glove.6B", dim=50), tmp_path, lambda: tmp_path
    )
    assert path == tmp_path / "glove/glove.6B.zip"
    vectors = read_vectors(path, {"w7", "w9"}, dim=50, option="glove.source")
    assert vectors.words == ["w7", "w9"]
    other = glove(default_content, source="glove.6B", dim=50, sha256="0" * 64)
    with pytest.raises(UserError, match=rf"glove\.sha256: 0000.* does not match .*{SHA256}"):
        vector_file(other, tmp_path, lambda: tmp_path)


def test_mirror_is_tried_first(
    server: FakeServer,
    tmp_path: Path,
    default_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GLOVE_MIRROR_URL", f"{server.address}/mine/")
    server.files["/mine/glove.2024.wikigiga.50d.zip"] = CONTENT
    settings = glove(default_content, source="glove.2024.wikigiga", dim=50)
    assert vector_file(settings, tmp_path, lambda: tmp_path) is not None
    assert f"sha256 is {SHA256}" in capsys.readouterr().out
    pinned = glove(default_content, source="glove.2024.wikigiga", dim=50, sha256=SHA256)
    assert vector_file(pinned, tmp_path, lambda: tmp_path) is not None
    assert len(server.requests) == 1


def test_published_files_have_their_published_names() -> None:
    known = published.remote_file("glove.6B", 300)
    assert known.size == 862_182_613
    assert [url.rpartition("/")[2] for url in known.urls] == ["glove.6B.zip"] * 3
    assert published.remote_file("glove.2024.dolma", 300).name == "glove.2024.dolma.300d.zip"
    assert len(published.remote_file("glove.2024.wikigiga", 100).urls) == 2
