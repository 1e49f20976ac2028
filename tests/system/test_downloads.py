"""Large files: downloads resume, are verified, and fall back on other hosts."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import ROOT
from fake_server import FakeServer, serving, vectors_zip

from arxiv_hybrid.system import downloads
from arxiv_hybrid.system.downloads import RemoteFile, download
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.http import _explain as explain
from arxiv_hybrid.system.http import new_session
from arxiv_hybrid.system.retry import RetryPolicy

FAST = RetryPolicy(attempts=3, first_wait=0.01, timeout=0.5)
CONTENT = vectors_zip()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(files={"/a/f.zip": CONTENT, "/b/f.zip": CONTENT}) as running:
        yield running


def remote(server: FakeServer, *paths: str, known: bool = True) -> RemoteFile:
    """f.zip on one or two "hosts"; known: whether its size and checksum are known."""
    urls = tuple(server.address + path for path in paths or ("/a/f.zip", "/b/f.zip"))
    if known:
        return RemoteFile("f.zip", urls, len(CONTENT), SHA256)
    return RemoteFile("f.zip", urls)


def get(file: RemoteFile, folder: Path) -> Path:
    return download(
        file, folder, option="glove.source", checksum_option="glove.sha256", policy=FAST
    )


def is_clean(folder: Path) -> bool:
    """Whether the folder contains nothing but the file, its lock and its checksum."""
    names = {path.name for path in folder.iterdir()}
    return names <= {"f.zip", "f.zip.lock", "f.zip.sha256"}


@pytest.mark.parametrize("known", [True, False])
def test_file_is_downloaded_once(server: FakeServer, tmp_path: Path, known: bool) -> None:
    for _ in range(2):
        path = get(remote(server, known=known), tmp_path)
        assert path.read_bytes() == CONTENT
    assert server.paths() == ["/a/f.zip"]
    assert is_clean(tmp_path)


FAULTS = [
    "cut",
    "html",
    "hang",
    "shifted",
    "compressed",
    {"status": 503},
    {"status": 429, "Retry-After": 0},
    {"status": 416},
    {"status": 206},
]


@pytest.mark.parametrize(
    ("fault", "known"),
    # without a checksum a wrong byte is noticed only when the archive is read
    [("wrong", True), *((fault, known) for fault in FAULTS for known in (True, False))],
    ids=str,
)
def test_file_is_complete_after_a_fault(
    server: FakeServer, tmp_path: Path, fault: Any, known: bool
) -> None:
    server.faults = ["cut", fault]
    path = get(remote(server, known=known), tmp_path)
    assert path.read_bytes() == CONTENT
    assert is_clean(tmp_path)


@pytest.mark.parametrize("status", [416, 206])
def test_range_status_without_a_range_request_is_handled(
    server: FakeServer, tmp_path: Path, status: int
) -> None:
    server.faults = [{"status": status}]
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


def test_range_of_another_version_is_not_appended(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["cut", {"status": 404}]
    with pytest.raises(UserError):
        get(remote(server, "/a/f.zip", known=False), tmp_path)
    server.files["/a/f.zip"] = changed = vectors_zip(7000)
    server.faults = ["no If-Range"]
    assert get(remote(server, "/a/f.zip", known=False), tmp_path).read_bytes() == changed


def test_download_stops_at_the_known_size(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["longer"]
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.paths() == ["/a/f.zip", "/b/f.zip"]


def test_redirect_loop_fails(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["redirect loop"]
    with pytest.raises(UserError, match="too many redirects"):
        get(remote(server, "/a/f.zip"), tmp_path)
    assert len(server.requests) < 6


def test_zip_with_a_damaged_member_is_rejected(server: FakeServer, tmp_path: Path) -> None:
    middle = len(CONTENT) // 2
    spliced = CONTENT[:middle] + b"\0" * 2000 + CONTENT[middle + 2000 :]
    server.files = dict.fromkeys(server.files, spliced)
    with pytest.raises(UserError, match=r"is not a complete \.zip"):
        get(remote(server, known=False), tmp_path)


def test_typo_in_the_checksum_deletes_nothing(server: FakeServer, tmp_path: Path) -> None:
    path = get(remote(server, known=False), tmp_path)
    wrong = RemoteFile("f.zip", remote(server).urls, None, "0" * 64)
    expected = rf"sha256 is {SHA256}, unchanged since the download, expected 0000.*glove\.sha256"
    with pytest.raises(UserError, match=expected):
        get(wrong, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://[::1", "not http or https|cannot be sent"),
        ("example.invalid/f.zip", "not http or https"),
        ("ftp://example.invalid/f.zip", "not http or https"),
        ("http://user:secret@127.0.0.1:9/resolve/f.zip", "127.0.0.1:9: no connection"),
    ],
)
def test_unusable_urls(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        get(RemoteFile("f.zip", (url,)), tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fault", ["html", "hang", "wrong", {"status": 404}, {"status": 503}], ids=str
)
def test_next_host_is_tried(server: FakeServer, tmp_path: Path, fault: Any) -> None:
    attempts = 1 if fault in ("html", "wrong", {"status": 404}) else FAST.attempts
    server.faults = [fault] * attempts
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.paths() == ["/a/f.zip"] * attempts + ["/b/f.zip"]


def test_only_missing_bytes_are_requested(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["cut", "cut"]
    get(remote(server, "/a/f.zip"), tmp_path)
    ranges = [request["range"] for request in server.requests]
    half = len(CONTENT) // 2
    assert ranges[:2] == [None, f"bytes={half}-"]
    starts = [int(str(value).removeprefix("bytes=").rstrip("-")) for value in ranges[1:]]
    assert starts == sorted(set(starts))


def test_host_that_cuts_often_but_makes_progress_is_kept(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MIN_PROGRESS", 1000)
    server.faults = ["cut"] * 8
    get(remote(server), tmp_path)
    assert set(server.paths()) == {"/a/f.zip"}


def test_host_without_ranges_starts_over(server: FakeServer, tmp_path: Path) -> None:
    server.ranges = False
    server.faults = ["cut"]
    assert get(remote(server), tmp_path).read_bytes() == CONTENT


def test_slow_host_is_given_up(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SPEED_WINDOW", 0.2)
    server.faults = ["drip"] * FAST.attempts
    assert get(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.paths()[-1] == "/b/f.zip"


def test_redirect_is_followed_but_not_to_a_web_page(server: FakeServer, tmp_path: Path) -> None:
    server.redirects = {"/old/f.zip": "/b/f.zip"}
    assert get(remote(server, "/old/f.zip"), tmp_path / "1").read_bytes() == CONTENT
    server.faults = ["html"]
    with pytest.raises(UserError, match="sent a web page instead of the file"):
        get(remote(server, "/old/f.zip"), tmp_path / "2")


def test_changed_file_is_downloaded_from_the_start(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["cut", {"status": 404}]
    with pytest.raises(UserError):
        get(remote(server, "/a/f.zip", known=False), tmp_path)
    server.files["/a/f.zip"] = changed = vectors_zip(7000)
    assert get(remote(server, "/a/f.zip", known=False), tmp_path).read_bytes() == changed


def test_part_of_another_host_is_not_resumed_without_a_checksum(
    server: FakeServer, tmp_path: Path
) -> None:
    server.files["/b/f.zip"] = other = vectors_zip(5000)
    server.faults = ["cut", {"status": 404}]
    path = get(remote(server, known=False), tmp_path)
    assert path.read_bytes() == other
    assert server.requests[-1]["range"] is None


@pytest.mark.parametrize("known", [True, False])
def test_file_that_is_wrong_on_every_host_is_rejected(
    server: FakeServer, tmp_path: Path, known: bool
) -> None:
    server.files = dict.fromkeys(server.files, CONTENT[:-5000])
    with pytest.raises(UserError) as caught:
        get(remote(server, known=known), tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    assert "f.zip" in line
    assert "glove.source" in line
    assert (f"expected {len(CONTENT):,}" if known else "is not a complete .zip") in line
    assert not (tmp_path / "f.zip").exists()


def test_wrong_checksum_on_every_host_is_reported_with_both_values(
    server: FakeServer, tmp_path: Path
) -> None:
    wrong = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    server.files = dict.fromkeys(server.files, wrong)
    with pytest.raises(UserError) as caught:
        get(remote(server), tmp_path)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert SHA256 in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"f.zip.lock"}


def test_file_damaged_later_is_downloaded_again(server: FakeServer, tmp_path: Path) -> None:
    for known in (True, False):
        path = get(remote(server, known=known), tmp_path / str(known))
        path.write_bytes(CONTENT[:-1])
        assert get(remote(server, known=known), tmp_path / str(known)).read_bytes() == CONTENT


@pytest.mark.parametrize("lost", ["changed", "deleted", "truncated"])
def test_without_a_published_checksum_that_of_the_first_download_counts(
    server: FakeServer, tmp_path: Path, lost: str
) -> None:
    path = get(remote(server, known=False), tmp_path)
    kept = tmp_path / "f.zip.sha256"
    if lost == "deleted":
        path.unlink()
    else:
        path.write_bytes(vectors_zip(5000) if lost == "changed" else CONTENT[:1000])
    other = vectors_zip(7000)
    server.files = dict.fromkeys(server.files, other)
    expected = (
        rf"sha256 is {hashlib.sha256(other).hexdigest()}, that of the first download {SHA256}"
    )
    with pytest.raises(UserError, match=rf"{expected}; to accept .* delete .*f\.zip\.sha256"):
        get(remote(server, known=False), tmp_path)
    assert kept.read_text().strip() == SHA256
    kept.unlink()
    assert get(remote(server, known=False), tmp_path).read_bytes() == other


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", b"\xff\xfe", SHA256.upper().encode()],
    ids=["empty", "short", "no text", "upper case"],
)
def test_a_kept_checksum_that_is_none_is_an_error(
    server: FakeServer, tmp_path: Path, content: bytes
) -> None:
    get(remote(server, known=False), tmp_path)
    (tmp_path / "f.zip.sha256").write_bytes(content)
    with pytest.raises(UserError, match=r"f\.zip\.sha256: does not contain a SHA-256"):
        get(remote(server, known=False), tmp_path)


@pytest.mark.parametrize(
    ("location", "refused"),
    [
        ("http://example.org/f.zip", True),
        ("HTTP://example.org/f.zip", True),
        ("ftp://example.org/f.zip", True),
        ("https://example.org/f.zip", False),
        ("//example.org/f.zip", False),
        ("/other/f.zip", False),
    ],
)
def test_a_redirect_never_leaves_https(location: str, refused: bool) -> None:
    response = requests.Response()
    response.status_code, response.url = 302, "https://example.com/f.zip"
    response.headers["Location"] = location
    session = new_session()
    if not refused:
        assert session.get_redirect_target(response) == location
        return
    with pytest.raises(requests.RequestException) as caught:
        session.get_redirect_target(response)
    assert str(explain(caught.value)) == "redirects from https to http"


def test_full_disk_is_reported_before_the_download(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "DISK_RESERVE", 1 << 60)
    with pytest.raises(UserError, match=r"MiB free, f\.zip needs .*ARXIV_HYBRID_CACHE"):
        get(remote(server), tmp_path)
    assert not server.requests


def test_concurrent_downloads_fetch_the_file_once(server: FakeServer, tmp_path: Path) -> None:
    server.faults = ["throttle"]
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: get(remote(server), tmp_path), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


SCRIPT = """
import sys
from pathlib import Path
from arxiv_hybrid.system.downloads import RemoteFile, download
url, size, digest, folder = sys.argv[1:]
remote = RemoteFile("f.zip", (url,), int(size), digest)
download(remote, Path(folder), option="glove.source", checksum_option="glove.sha256")
"""


def test_download_resumes_after_sigkill(server: FakeServer, tmp_path: Path) -> None:
    url = f"{server.address}/a/f.zip"
    command = [sys.executable, "-c", SCRIPT, url, str(len(CONTENT)), SHA256, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    server.faults = ["throttle"]
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    part = tmp_path / "f.zip.part"
    while not part.exists() or part.stat().st_size < len(CONTENT) // 4:
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    size = part.stat().st_size
    assert size < len(CONTENT)
    assert not (tmp_path / "f.zip").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert server.requests[-1]["range"] == f"bytes={size}-"
    assert (tmp_path / "f.zip").read_bytes() == CONTENT
    assert is_clean(tmp_path)
