"""Large files: resumed, checked, from whichever host gives them."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, merged
from standin import StandIn, serving

from arxiv_hybrid.params import parse
from arxiv_hybrid.system import downloads
from arxiv_hybrid.system.downloads import Remote, download
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.web import RetryPolicy
from arxiv_hybrid.vectors import published
from arxiv_hybrid.vectors.files import read_vectors
from arxiv_hybrid.vectors.published import vector_file

QUICK = RetryPolicy(tries=3, first_wait=0.01, silence=0.5)


def archive(rows: int = 6000) -> bytes:
    """A .zip of word vectors, about a megabyte."""
    random = np.random.default_rng(4)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        text = "".join(
            f"w{i} {' '.join(f'{x:.4f}' for x in row)}\n"
            for i, row in enumerate(random.normal(size=(rows, 50)))
        )
        made.writestr("vectors.50d.txt", text)
    return buffer.getvalue()


CONTENT = archive()
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def host() -> Iterator[StandIn]:
    with serving(files={"/a/f.zip": CONTENT, "/b/f.zip": CONTENT}) as server:
        yield server


def remote(host: StandIn, *paths: str, known: bool = True) -> Remote:
    urls = tuple(host.address + path for path in paths or ("/a/f.zip", "/b/f.zip"))
    if known:
        return Remote("f.zip", urls, len(CONTENT), SUM)
    return Remote("f.zip", urls)


def get(wanted: Remote, folder: Path) -> Path:
    return download(wanted, folder, key="glove.source", policy=QUICK)


def is_clean(folder: Path) -> bool:
    """Whether nothing but the file, its lock and its checksum is there."""
    names = {path.name for path in folder.iterdir()}
    return names <= {"f.zip", "f.zip.lock", "f.zip.sha256"}


@pytest.mark.parametrize("known", [True, False])
def test_a_file_is_fetched_once(host: StandIn, tmp_path: Path, known: bool) -> None:
    for _ in range(2):
        path = get(remote(host, known=known), tmp_path)
        assert path.read_bytes() == CONTENT
    assert host.asked() == ["/a/f.zip"]
    assert is_clean(tmp_path)


ONCE = [
    "cut",
    "html",
    "hang",
    "shifted",
    "packed",
    {"status": 503},
    {"status": 429, "Retry-After": 0},
    {"status": 416},
    {"status": 206},
]


@pytest.mark.parametrize(
    ("fault", "known"),
    # without a checksum a wrong byte is seen when the archive is read
    [("wrong", True), *((fault, known) for fault in ONCE for known in (True, False))],
    ids=str,
)
def test_after_a_fault_the_file_is_whole(
    host: StandIn, tmp_path: Path, fault: Any, known: bool
) -> None:
    host.faults = ["cut", fault]
    path = get(remote(host, known=known), tmp_path)
    assert path.read_bytes() == CONTENT
    assert is_clean(tmp_path)


@pytest.mark.parametrize("status", [416, 206])
def test_an_answer_to_no_question_is_no_traceback(
    host: StandIn, tmp_path: Path, status: int
) -> None:
    host.faults = [{"status": status}]
    assert get(remote(host), tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_version_is_not_gone_on_with(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["cut", {"status": 404}]
    with pytest.raises(UserError):
        get(remote(host, "/a/f.zip", known=False), tmp_path)
    host.files["/a/f.zip"] = changed = archive(7000)
    host.faults = ["no If-Range"]
    assert get(remote(host, "/a/f.zip", known=False), tmp_path).read_bytes() == changed


def test_a_file_that_is_too_long_is_not_fetched_for_ever(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["longer"]
    assert get(remote(host), tmp_path).read_bytes() == CONTENT
    assert host.asked() == ["/a/f.zip", "/b/f.zip"]


def test_a_redirect_in_a_circle_is_left(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["circle"]
    with pytest.raises(UserError, match="redirects in a circle"):
        get(remote(host, "/a/f.zip"), tmp_path)
    assert len(host.requests) < 6


def test_an_archive_with_a_damaged_file_inside_is_no_whole_one(
    host: StandIn, tmp_path: Path
) -> None:
    middle = len(CONTENT) // 2
    spliced = CONTENT[:middle] + b"\0" * 2000 + CONTENT[middle + 2000 :]
    host.files = dict.fromkeys(host.files, spliced)
    with pytest.raises(UserError, match=r"is no whole \.zip"):
        get(remote(host, known=False), tmp_path)


def test_a_typing_error_in_a_checksum_removes_nothing(host: StandIn, tmp_path: Path) -> None:
    path = get(remote(host, known=False), tmp_path)
    wrong = Remote("f.zip", remote(host).urls, None, "0" * 64)
    with pytest.raises(UserError, match=f"sha256 is {SUM} as it was when it came, expected 0000"):
        get(wrong, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[::1", "none of http or https|cannot be asked"),
        ("example.invalid/f.zip", "none of http or https"),
        ("ftp://example.invalid/f.zip", "none of http or https"),
        ("http://user:secret@127.0.0.1:9/resolve/f.zip", "127.0.0.1:9: no connection"),
    ],
)
def test_addresses_that_cannot_be_asked(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as told:
        get(Remote("f.zip", (url,)), tmp_path)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "fault", ["html", "hang", "wrong", {"status": 404}, {"status": 503}], ids=str
)
def test_another_host_helps_out(host: StandIn, tmp_path: Path, fault: Any) -> None:
    tries = 1 if fault in ("html", "wrong", {"status": 404}) else QUICK.tries
    host.faults = [fault] * tries
    assert get(remote(host), tmp_path).read_bytes() == CONTENT
    assert host.asked() == ["/a/f.zip"] * tries + ["/b/f.zip"]


def test_only_what_is_missing_is_asked_for(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["cut", "cut"]
    get(remote(host, "/a/f.zip"), tmp_path)
    asked = [request["range"] for request in host.requests]
    half = len(CONTENT) // 2
    assert asked[:2] == [None, f"bytes={half}-"]
    starts = [int(str(one).removeprefix("bytes=").rstrip("-")) for one in asked[1:]]
    assert starts == sorted(set(starts))


def test_a_host_that_cuts_often_but_goes_on_is_kept(
    host: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PROGRESS", 1000)
    host.faults = ["cut"] * 8
    get(remote(host), tmp_path)
    assert set(host.asked()) == {"/a/f.zip"}


def test_a_host_without_ranges_starts_over(host: StandIn, tmp_path: Path) -> None:
    host.ranges = False
    host.faults = ["cut"]
    assert get(remote(host), tmp_path).read_bytes() == CONTENT


def test_a_drip_is_too_slow(host: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SLOW_FOR", 0.2)
    host.faults = ["drip"] * QUICK.tries
    assert get(remote(host), tmp_path).read_bytes() == CONTENT
    assert host.asked()[-1] == "/b/f.zip"


def test_a_redirect_is_followed_but_not_to_a_page(host: StandIn, tmp_path: Path) -> None:
    host.redirects = {"/old/f.zip": "/b/f.zip"}
    assert get(remote(host, "/old/f.zip"), tmp_path / "1").read_bytes() == CONTENT
    host.faults = ["html"]
    with pytest.raises(UserError, match="sent a web page instead of the file"):
        get(remote(host, "/old/f.zip"), tmp_path / "2")


def test_a_file_that_changed_meanwhile_is_fetched_anew(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["cut", {"status": 404}]
    with pytest.raises(UserError):
        get(remote(host, "/a/f.zip", known=False), tmp_path)
    host.files["/a/f.zip"] = changed = archive(7000)
    assert get(remote(host, "/a/f.zip", known=False), tmp_path).read_bytes() == changed


def test_a_part_of_another_host_is_not_gone_on_with_unless_the_checksum_is_known(
    host: StandIn, tmp_path: Path
) -> None:
    host.files["/b/f.zip"] = other = archive(5000)
    host.faults = ["cut", {"status": 404}]
    path = get(remote(host, known=False), tmp_path)
    assert path.read_bytes() == other
    assert host.requests[-1]["range"] is None


@pytest.mark.parametrize("known", [True, False])
def test_what_is_wrong_everywhere_is_never_taken(
    host: StandIn, tmp_path: Path, known: bool
) -> None:
    host.files = dict.fromkeys(host.files, CONTENT[:-5000])
    with pytest.raises(UserError) as told:
        get(remote(host, known=known), tmp_path)
    line = str(told.value)
    assert "\n" not in line
    assert "f.zip" in line
    assert "glove.source" in line
    assert (f"expected {len(CONTENT):,}" if known else "is no whole .zip") in line
    assert not (tmp_path / "f.zip").exists()


def test_a_wrong_checksum_everywhere_is_told_with_both(host: StandIn, tmp_path: Path) -> None:
    wrong = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    host.files = dict.fromkeys(host.files, wrong)
    with pytest.raises(UserError) as told:
        get(remote(host), tmp_path)
    assert hashlib.sha256(wrong).hexdigest() in str(told.value)
    assert SUM in str(told.value)
    assert {path.name for path in tmp_path.iterdir()} == {"f.zip.lock"}


def test_a_file_damaged_later_is_fetched_again(host: StandIn, tmp_path: Path) -> None:
    for known in (True, False):
        path = get(remote(host, known=known), tmp_path / str(known))
        path.write_bytes(CONTENT[:-1])
        assert get(remote(host, known=known), tmp_path / str(known)).read_bytes() == CONTENT


def test_a_full_disk_is_told_before(
    host: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SPARE", 1 << 60)
    with pytest.raises(UserError, match=r"MiB are free, f\.zip needs .*ARXIV_HYBRID_CACHE"):
        get(remote(host), tmp_path)
    assert not host.requests


def test_two_at_once_fetch_it_once(host: StandIn, tmp_path: Path) -> None:
    host.faults = ["crawl"]
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: get(remote(host), tmp_path), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == CONTENT
    assert len(host.requests) == 1


KILLED = """
import sys
from pathlib import Path
from arxiv_hybrid.system.downloads import Remote, download
url, size, digest, folder = sys.argv[1:]
download(Remote("f.zip", (url,), int(size), digest), Path(folder), key="glove.source")
"""


def test_after_kill_9_only_the_rest_is_fetched(host: StandIn, tmp_path: Path) -> None:
    url = f"{host.address}/a/f.zip"
    command = [sys.executable, "-c", KILLED, url, str(len(CONTENT)), SUM, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    host.faults = ["crawl"]
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    part = tmp_path / "f.zip.part"
    while not part.exists() or part.stat().st_size < len(CONTENT) // 4:
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    had = part.stat().st_size
    assert had < len(CONTENT)
    assert not (tmp_path / "f.zip").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert host.requests[-1]["range"] == f"bytes={had}-"
    assert (tmp_path / "f.zip").read_bytes() == CONTENT
    assert is_clean(tmp_path)


def glove(content: dict[str, Any], **changes: Any) -> Any:
    return parse(merged(content, {"glove": changes}), "params").glove


def test_glove_by_name_is_read_where_it_lies(
    host: StandIn, tmp_path: Path, default_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Remote("glove.6B.zip", (f"{host.address}/a/f.zip",), len(CONTENT), SUM)
    monkeypatch.setattr(published, "GLOVE_6B", local)
    path = vector_file(
        glove(default_content, source="glove.6B", dim=50), tmp_path, lambda: tmp_path
    )
    assert path == tmp_path / "glove/glove.6B.zip"
    found = read_vectors(path, {"w7", "w9"}, dim=50, key="glove.source")
    assert found.words == ["w7", "w9"]
    other = glove(default_content, source="glove.6B", dim=50, sha256="0" * 64)
    with pytest.raises(UserError, match=rf"glove\.sha256: 0000.* is not that of .*{SUM}"):
        vector_file(other, tmp_path, lambda: tmp_path)


def test_a_mirror_of_your_own_is_tried_first(
    host: StandIn,
    tmp_path: Path,
    default_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GLOVE_MIRROR_URL", f"{host.address}/mine/")
    host.files["/mine/glove.2024.wikigiga.50d.zip"] = CONTENT
    settings = glove(default_content, source="glove.2024.wikigiga", dim=50)
    assert vector_file(settings, tmp_path, lambda: tmp_path) is not None
    assert f"sha256 is {SUM}" in capsys.readouterr().out
    pinned = glove(default_content, source="glove.2024.wikigiga", dim=50, sha256=SUM)
    assert vector_file(pinned, tmp_path, lambda: tmp_path) is not None
    assert len(host.requests) == 1


def test_what_is_published_is_named_as_published() -> None:
    known = published.remote("glove.6B", 300)
    assert known.size == 862_182_613
    assert [url.rpartition("/")[2] for url in known.urls] == ["glove.6B.zip"] * 3
    assert published.remote("glove.2024.dolma", 300).name == "glove.2024.dolma.300d.zip"
    assert len(published.remote("glove.2024.wikigiga", 100).urls) == 2
