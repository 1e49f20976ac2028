"""Where `predict --output` writes: files, links, pipes, terminals, open descriptors."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.inference import checkpoint, predict_file

PAPERS = pd.DataFrame({"id": [1, 2], "title": ["deep", "words"], "abstract": ["words", "deep"]})
HEADER = "id,category,unsure,cs.AI-LG,cs.CL,cs.CV"


@pytest.fixture
def given(model_folder: Path, tmp_path: Path) -> list[str]:
    PAPERS.to_csv(tmp_path / "in.csv", index=False)
    return ["predict", "--model", str(model_folder), "--input", str(tmp_path / "in.csv")]


class Reader:
    """Reads a descriptor in a thread until its end."""

    def __init__(self, descriptor: int) -> None:
        self.content = b""
        self.thread = threading.Thread(target=self._read, args=[descriptor], daemon=True)
        self.thread.start()

    def _read(self, descriptor: int) -> None:
        try:
            while part := os.read(descriptor, 4096):
                self.content += part
        except OSError:  # what a terminal reports at its end
            pass

    def lines(self) -> list[str]:
        self.thread.join(30)
        return self.content.decode().replace("\r\n", "\n").splitlines()


def check(lines: list[str]) -> None:
    assert lines[0] == HEADER
    assert pd.read_csv(StringIO("\n".join(lines)))["id"].tolist() == [1, 2]


def test_a_named_pipe_stays_one(given: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content: list[str] = []
    reader = threading.Thread(target=lambda: content.append(path.read_text()), daemon=True)
    reader.start()
    assert main([*given, "--output", str(path)]) == 0
    reader.join(30)
    check(content[0].splitlines())
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_reader_sees_the_end_also_after_an_error(given: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (tmp_path / "in.csv").write_text("title,abstract\na,b,c\n")
    content: list[str] = []
    reader = threading.Thread(target=lambda: content.append(path.read_text()), daemon=True)
    reader.start()
    assert main([*given, "--output", str(path)]) == 2
    reader.join(30)
    assert content == [""]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "through a link"])
def test_a_device_stays_one(linked: bool, given: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()  # a terminal of our own
    device = Path(os.ttyname(theirs))
    before = device.stat()
    assert stat.S_ISCHR(before.st_mode)
    target = device
    if linked:
        target = tmp_path / "link"
        target.symlink_to(device)
    reader = Reader(ours)
    try:
        assert main([*given, "--output", str(target)]) == 0
        after = device.stat()
        assert (after.st_mode, after.st_rdev) == (before.st_mode, before.st_rdev)
    finally:
        os.close(theirs)
    check(reader.lines())
    os.close(ours)
    assert target.is_symlink() == linked


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_an_open_pipe_is_written_into(folder: str, given: list[str]) -> None:
    ours, theirs = os.pipe()
    reader = Reader(ours)
    assert main([*given, "--output", f"{folder}/{theirs}"]) == 0
    os.close(theirs)
    check(reader.lines())
    os.close(ours)


def test_an_open_file_goes_on_where_it_is(given: list[str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        assert main([*given, "--output", f"/dev/fd/{log.fileno()}"]) == 0
        log.write("after\n")
    lines = (tmp_path / "log").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    check(lines[1:-1])


def test_the_shell_can_substitute_a_process(given: list[str], tmp_path: Path) -> None:
    command = " ".join([sys.executable, "-m", "arxiv_hybrid", *given])
    script = f"{command} --output >(cat > {tmp_path}/substituted)"
    subprocess.run(["bash", "-c", script], capture_output=True, check=True)  # waits for cat, too
    check((tmp_path / "substituted").read_text().splitlines())


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_holds_predictions_only(
    name: str, given: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*given, "--output", name]) == 0
    output = capfd.readouterr()
    check(output.out.splitlines())
    assert output.err.splitlines()[0].startswith("model: model, v1 with 3 classes")
    assert output.err.splitlines()[1:] == [f"2 papers -> {name}"]


@pytest.mark.parametrize("name", ["/dev/fd/9999", "folder", "loop"])
def test_what_cannot_be_written_is_one_line(
    name: str, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    output = name if name.startswith("/") else str(tmp_path / name)
    assert main([*given, "--output", output]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {output}: ")
    assert error.count("\n") == 1


def test_a_link_and_the_mode_of_its_file_are_kept(given: list[str], tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "out.csv"
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    assert main([*given, "--output", str(link)]) == 0
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    check(target.read_text().splitlines())


def test_what_a_killed_process_left_beside_the_output_is_removed(
    model_folder: Path, tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, other = tmp_path / f".out.csv.{dead.pid}.tmp", tmp_path / f".other.csv.{dead.pid}.tmp"
    alive = tmp_path / f".out.csv.{os.getppid()}.tmp"
    for path in (left, other, alive):
        path.write_text("half")
        os.utime(path, (1, 1) if path != alive else None)
    (tmp_path / "in.csv").write_text("title,abstract\nDeep learning,words\n")
    predict_file.predict_file(
        checkpoint.load(model_folder), tmp_path / "in.csv", tmp_path / "out.csv"
    )
    assert [path.exists() for path in (left, other, alive)] == [False, True, True]
