"""Long work shows how far it is: a bar in a terminal, few lines in a log file."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import CPU, ROOT

from arxiv_hybrid.audit import duplicates
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.system import ticker
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import line_blocks
from arxiv_hybrid.system.ticker import EVERY, Progress, Ticker, duration, print_line, pulse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.vectors.train import word2vec


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_other_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget bars that other tests left when they failed inside the work, as they should."""
    monkeypatch.setattr(ticker, "_working", [])


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticker, "is_due", lambda _: True)


def due_seconds(seconds: range) -> list[int]:
    clock = Clock()
    lines, due = Ticker(2.0, clock), []
    for clock.now in seconds:
        if lines.is_due():
            due.append(int(clock.now))
    return due


def test_lines_come_soon_and_then_rarely() -> None:
    assert due_seconds(range(200)) == [2, 6, 18, 54, 114, 174]


def test_ten_hours_are_some_hundred_lines() -> None:
    assert len(due_seconds(range(36_000))) < 36_000 / EVERY + 5


def test_silence_ends_with_a_line_and_not_with_several() -> None:
    clock = Clock()
    lines = Ticker(2.0, clock)
    clock.now = 1000
    assert (lines.is_due(), lines.is_due()) == (True, False)


@pytest.mark.parametrize(
    ("options", "count", "line"),
    [
        ({"total": 8, "unit": "fits"}, 2, "25%, 2 of 8 fits, .*fits/s, 0:00 left"),
        ({"unit": "papers"}, 1234, "1,234 papers, .* papers/s"),
        ({"total": 5e6, "unit": "B"}, 2.5e6, "50%, 2.5 of 5.0 MB, .* MB/s, 0:00 left"),
        ({}, 3, "0:00"),
        ({"total": 4, "unit": "fits", "details": lambda: "loss 0.5"}, 2, "50%.* left, loss 0.5"),
    ],
)
@pytest.mark.usefixtures("always_due")
def test_a_line_says_how_far_the_work_is(
    options: dict, count: float, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(what="work", **options) as progress:
        capsys.readouterr()
        progress.n += count
        progress.refresh()
    text = capsys.readouterr().err
    assert re.fullmatch(rf"  work: {line}\n", text), text


@pytest.mark.usefixtures("always_due")
def test_only_the_innermost_work_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(what="outer", total=2, unit="parts") as outer:
        with Progress(what="inner", total=2, unit="steps") as inner:
            outer.n = inner.n = 1
            capsys.readouterr()
            outer.refresh()
            assert capsys.readouterr().err == ""
            inner.refresh()
            assert "inner" in capsys.readouterr().err
        outer.refresh()
        assert "outer" in capsys.readouterr().err


@pytest.mark.usefixtures("always_due")
def test_quiet_work_shows_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in Progress(range(3), "work", unit="steps", quiet=True):
        pass
    monkeypatch.setenv("RANK", "1")  # torchrun's second process; the first shows it
    for _ in Progress(range(3), "work", unit="steps"):
        pass
    with pulse("more", first=0, quiet=True):
        pass
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, where every state is shown at once."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(ticker, "FIRST", 0.0)
    return terminal


def test_a_terminal_has_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_a_terminal(monkeypatch)
    with Progress(what="work", total=4, unit="papers", details=lambda: "loss 0.5") as progress:
        progress.n = 2
        progress.refresh()
    text = terminal.getvalue()
    shown, cleared = (part.rstrip() for part in re.split("\r+", text)[1:3])
    bar = r"\[(#+)(\.+)\]"
    found = re.fullmatch(rf"work: {bar} 50%, 2 of 4 papers, .*, loss 0\.5", shown)
    assert found, shown
    assert 2 <= len(found[1]) <= 10
    assert abs(len(found[1]) - len(found[2])) <= 1
    assert cleared == ""
    assert "\n" not in text
    assert text.endswith("\r")


def test_the_last_line_can_stay_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_a_terminal(monkeypatch)
    with Progress(what="papers.csv", total=4e6, unit="B", leave=True) as progress:
        progress.update(4e6)
    last = re.split("\r+", terminal.getvalue())[-1]
    assert re.match(r"papers\.csv: \[#+\] 100%, 4\.0 of 4\.0 MB", last)
    assert last.endswith("\n")


def test_a_printed_line_takes_the_place_of_the_rewritten_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = in_a_terminal(monkeypatch)
    with Progress(what="work", total=2, unit="papers") as progress:
        progress.refresh()
        print_line("arXiv is busy", sys.stderr)
        assert terminal.getvalue().endswith(" \rarXiv is busy\n")
        print_line("another line")
    assert terminal.getvalue().endswith(" \rarXiv is busy\n"), "nothing is left to remove"
    assert capsys.readouterr().out == "another line\n"


@pytest.mark.parametrize("columns", [40, 200])
def test_a_line_fits_into_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    with Progress(what="work", total=4, unit="papers", details=lambda: "loss 0.5" * 9) as progress:
        progress.refresh()
        progress.update(2)
    assert {len(line) for line in re.split("\r+", terminal.getvalue())[1:-1]} == {columns - 1}


def test_what_was_done_before_takes_no_time() -> None:
    with Progress(what="file", total=4e6, unit="B") as progress:
        progress.restart(3e6)
        progress._started -= 10
        progress.update(1e5)
        assert progress._state() == "78%, 3.1 of 4.0 MB, 0.0 MB/s, 1:30 left"


def test_work_that_ends_early_is_forgotten() -> None:
    for step in Progress(range(3), "work", unit="steps"):
        if step == 1:
            break
    assert ticker._working == []


def test_the_state_is_looked_at_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(Progress, "_is_shown", lambda self: looked.append(self.n))
    for _ in Progress(range(100_000), "work", unit="steps"):
        pass
    assert 1 <= len(looked) < 1000


def test_a_moment_shows_nothing_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in Progress(range(100), "work", unit="steps"):
        pass
    with pulse("more"):
        pass
    assert terminal.getvalue() == ""


def test_work_without_a_count_shows_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    shown = threading.Event()
    with pulse("fitting", first=0.01):
        while "fitting: 0:00" not in capsys.readouterr().err:
            shown.wait(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "pulse"]


def test_a_pulse_keeps_the_work_inside_it_alive(capsys: pytest.CaptureFixture[str]) -> None:
    pause = threading.Event()
    with pulse("stage", first=0.01), Progress(what="fit", ticker=Ticker(0.0)):
        while "  fit: " not in capsys.readouterr().err:
            pause.wait(0.01)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (125.4, "2:05"), (3725, "1:02:05"), (59.6, "1:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


DOCUMENTS = [["deep", "learning", "words"], ["words", "of", "deep", "learning"]] * 30


def train_vectors(_: Path) -> None:
    word2vec(DOCUMENTS, dim=4, window=2, min_freq=1, epochs=2, seed=1)


def read_file(folder: Path) -> None:
    (folder / "papers.csv").write_text("id,title\n" + "1,deep\n" * 10_000)
    assert list(line_blocks(folder / "papers.csv", option="--input"))


def compare_papers(_: Path) -> None:
    papers = pd.DataFrame({"id": [f"2511.{n:05}" for n in range(8)], "title": "deep", "label": 0})
    papers["abstract"] = [f"words of paper {n} on some deep matter" for n in range(8)]
    duplicates.near_duplicates({"train": papers.head(4), "test": papers.tail(4)})


def classify(_: Path) -> None:
    words = Vocabulary(("<PAD>", "<UNK>", "deep"))
    papers = pd.DataFrame({"title": ["deep"] * 4000, "abstract": "deep"})
    encoded = encode_papers(papers, words, title_length=4, abstract_length=4, device=CPU)
    model = registry.build("v6", vocab_size=3, embed_dim=2, num_filters=2)
    predict(model, encoded, DeviceConfig(CPU, "fp32"))


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (train_vectors, "  word vectors: "),
        (read_file, "  papers.csv: "),
        (compare_papers, "  near duplicates: "),
        (classify, "  predicting: "),
    ],
)
def test_what_takes_minutes_on_many_papers_shows_how_far_it_is(
    work: Callable[[Path], None],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Progress, "_is_shown", lambda _: True)
    work(tmp_path)
    assert any(shown.startswith(line) for shown in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("content", [b"\x1f\x8b damaged", b"PK\x03\x04 damaged", b"\xfd7zXZ\x00"])
def test_nothing_is_left_of_work_that_failed(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "papers").write_bytes(content)
    with pytest.raises(UserError):
        list(line_blocks(tmp_path / "papers", option="--input"))
    assert ticker._working == []


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_a_stage_has_a_heading_for_its_users(path: Path) -> None:
    heading = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
    assert heading.endswith(".")
    assert not {"`", "--", "torchrun", "fetch."} & {*heading.split(), *heading}
    assert len(heading) <= 90


@pytest.mark.parametrize("rank", [{}, {"RANK": "1"}])
def test_a_stage_says_what_it_does_before_anything_else(
    rank: dict[str, str], tmp_path: Path
) -> None:
    script = ROOT / "stages/inputs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--with", "arguments"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env={**os.environ, **rank, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 2
    heading = ast.get_docstring(ast.parse(script.read_text()))
    first = f"{(heading or '').splitlines()[0]} --with arguments"
    assert done.stdout.splitlines() == ([] if rank else [first])
