"""The live API: the real client against a server that misbehaves the way arXiv's does."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT, merged
from standin import NEWEST, StandIn, entries, serving

from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.sources import arxiv_source
from arxiv_hybrid.sources.arxiv_source import Harvest, Wanted
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.web import RetryPolicy

QUICK = RetryPolicy(pause=0.0, tries=5, first_wait=0.01, silence=0.5, whole_answer=1.0)
UNTIL = NEWEST.date()


@pytest.fixture
def arxiv() -> Iterator[StandIn]:
    with serving(papers=entries(700)) as server:
        yield server


def fetch(server: StandIn, cache: Path, count: int = 150, **changes: Any) -> Harvest:
    policy = changes.pop("policy", QUICK)
    wanted = Wanted(count, **{"until": UNTIL, **changes.pop("wanted", {})})
    return arxiv_source.fetch(
        wanted, cache, url=server.api, policy=policy, **{"page_size": 60, **changes}
    )


def expected(server: StandIn, count: int = 150) -> dict[str, list[str]]:
    newest = sorted(server.papers, key=lambda one: one.published, reverse=True)
    return {name: [p.id for p in newest if name in p.categories][:count] for name in CATEGORIES}


def ids(harvest: Harvest) -> dict[str, list[str]]:
    table = harvest.table()
    return {name: list(table.loc[table["category"] == name, "id"]) for name in CATEGORIES}


@pytest.mark.parametrize("whole_minutes", [False, True])
def test_the_newest_papers_come_once_each(
    arxiv: StandIn, tmp_path: Path, whole_minutes: bool
) -> None:
    arxiv.whole_minutes = whole_minutes
    harvest = fetch(arxiv, tmp_path)
    assert ids(harvest) == expected(arxiv)
    table = check_papers(harvest.table(), "arXiv")
    first = table.iloc[0]
    assert first["title"].startswith("On é & <topic>")
    assert not table["all_categories"].str.contains("I.2|68T").any()
    by_id = {one.id: one for one in arxiv.papers}
    assert (table["primary_category"] == [by_id[i].categories[0] for i in table["id"]]).all()
    assert (table["published"] == [f"{by_id[i].published:%Y-%m-%d}" for i in table["id"]]).all()


def test_it_behaves_as_the_terms_of_use_ask(arxiv: StandIn, tmp_path: Path) -> None:
    policy = RetryPolicy(pause=0.05)
    fetch(arxiv, tmp_path, policy=policy)
    times = [request["time"] for request in arxiv.requests]
    assert len(times) >= 12
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05
    assert arxiv.most_at_once == 1
    assert len({request["client"] for request in arxiv.requests}) == 1, "one connection"
    assert all(str(request["agent"]).startswith("arxiv-hybrid/") for request in arxiv.requests)
    assert arxiv_source.RETRY_POLICY.pause >= 3


def test_a_pause_is_kept_between_two_fetches_too(arxiv: StandIn, tmp_path: Path) -> None:
    fetch(arxiv, tmp_path, 5, wanted={"categories": ("cs.AI",)})
    last = arxiv.requests[-1]["time"]
    first = len(arxiv.requests)
    fetch(arxiv, tmp_path, 6, wanted={"categories": ("cs.AI",)}, policy=RetryPolicy(pause=0.3))
    assert arxiv.requests[first]["time"] - last >= 0.3


HARMLESS = ["doubled", "backwards", "total", "gzip"]  # as long as they last
FAULTS = [
    "empty",
    "nothing",
    "no total",
    "bad date",
    "short",
    "hole",
    "cut",
    "cut quietly",
    "html",
    "hang",
    "drip",
    {"status": 429, "Retry-After": 0},
    {"status": 503},
    {"status": 500},
]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("fault", [*FAULTS, *HARMLESS, "withdrawn", "bad XML"], ids=str)
def test_after_a_fault_all_papers_come_once(
    arxiv: StandIn, tmp_path: Path, fault: Any, at: int
) -> None:
    arxiv.faults = [None] * at + [fault]
    harvest = fetch(arxiv, tmp_path, wanted={"categories": ("cs.AI",)})
    assert ids(harvest)["cs.AI"] == expected(arxiv)["cs.AI"]
    assert harvest.missing == 0
    assert set(harvest.table()["abstract"].str[:9]) == {"We study "}
    harvest.forget_pages()
    assert not list((tmp_path / "arxiv").glob("*/*")), "pages of a finished fetch are removed"


@pytest.mark.parametrize(("seconds", "size"), [(37, 500), (37, 60), (0, 60)])
def test_a_paper_that_stands_twice_hides_none_at_the_end(
    tmp_path: Path, seconds: int, size: int
) -> None:
    with serving(papers=entries(120, seconds=seconds)) as server:
        there = expected(server, 1000)["cs.AI"]
        server.faults = [None] * (len(there) // size) + ["doubled within"]
        one = {"wanted": {"categories": ("cs.AI",)}, "page_size": size, "allow_fewer": True}
        harvest = fetch(server, tmp_path, 1000, **one)
        assert sorted(ids(harvest)["cs.AI"]) == sorted(there)
        server.faults = ["doubled within"] * 100
        lacking = fetch(server, tmp_path / "other", 1000, **one)
        assert lacking.missing == len(there) - len(ids(lacking)["cs.AI"]) > 0


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_that_stays_is_one_line(arxiv: StandIn, tmp_path: Path, fault: Any) -> None:
    arxiv.faults = [None] + [fault] * 100
    with pytest.raises(UserError) as told:
        fetch(arxiv, tmp_path, wanted={"categories": ("cs.AI",)})
    assert "\n" not in str(told.value)
    assert "arXiv" in str(told.value)
    assert "same command again" in str(told.value) or "allow_fewer" in str(told.value)
    arxiv.faults.clear()
    asked = len(arxiv.requests)
    harvest = fetch(arxiv, tmp_path, wanted={"categories": ("cs.AI",)})
    assert ids(harvest)["cs.AI"] == expected(arxiv)["cs.AI"]
    assert len(arxiv.requests) > asked


@pytest.mark.parametrize("fault", HARMLESS)
def test_some_faults_do_no_harm(arxiv: StandIn, tmp_path: Path, fault: str) -> None:
    arxiv.faults = [fault] * 100
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)


def test_an_empty_page_is_asked_for_in_parts(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.page_limit = 2000
    arxiv.faults = ["empty", "empty", "empty"]
    fetch(arxiv, tmp_path, 500, page_size=500, wanted={"categories": ("cs.AI",)}, allow_fewer=True)
    sizes = [int(path.rpartition("max_results=")[2]) for path in arxiv.asked()[:4]]
    assert sizes == [500, 500, 250, 125]


def test_a_server_that_asks_for_too_much_patience_is_left(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.faults = [{"status": 429, "Retry-After": 7200}]
    with pytest.raises(UserError, match=r"429.*7,200 s.*same command again"):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


def test_retry_after_is_kept_as_seconds_and_as_a_date(arxiv: StandIn, tmp_path: Path) -> None:
    stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
    arxiv.faults = [{"status": 429, "Retry-After": 1}, {"status": 503, "Retry-After": stamp}]
    fetch(arxiv, tmp_path, 5, wanted={"categories": ("cs.AI",)})
    times = [request["time"] for request in arxiv.requests]
    assert times[1] - times[0] >= 1
    assert times[2] - times[1] >= 0.5, "dates have whole seconds"


def test_a_refusal_is_told_in_the_servers_words(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.faults = ["refuse"]
    with pytest.raises(UserError, match="the API says: max_results must be smaller"):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


def test_without_a_network_it_gives_up_soon(tmp_path: Path) -> None:
    with serving() as server:
        pass
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no connection \(is there a network\?\)"):
        fetch(server, tmp_path)
    assert time.monotonic() - started < 30


def test_a_deep_query_is_split_by_date(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.cap = 100
    harvest = fetch(arxiv, tmp_path, 250, wanted={"categories": ("cs.LG",)})
    assert ids(harvest)["cs.LG"] == expected(arxiv, 250)["cs.LG"]


def test_papers_of_one_minute_are_divided_by_number(tmp_path: Path) -> None:
    with serving(papers=entries(400, seconds=0)) as server:
        harvest = fetch(server, tmp_path, 100, wanted={"categories": ("cs.CV",)})
        assert len(set(ids(harvest)["cs.CV"])) == 100


def test_fewer_papers_than_wanted_are_an_error_unless_allowed(
    arxiv: StandIn, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"holds only \d+ of cs\.AI.*fetch\.allow_fewer"):
        fetch(arxiv, tmp_path, 600)
    asked = len(arxiv.requests)
    harvest = fetch(arxiv, tmp_path, 600, allow_fewer=True)
    assert len(arxiv.requests) == asked, "all pages were kept"
    assert ids(harvest) == expected(arxiv, 600)


def test_missing_papers_are_counted_where_that_is_allowed(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.faults = ["hole", None] * 8
    harvest = fetch(arxiv, tmp_path, 100, wanted={"categories": ("cs.AI",)}, allow_fewer=True)
    assert harvest.missing == 1
    assert len(ids(harvest)["cs.AI"]) == 100


def test_a_window_is_kept_to_the_day(arxiv: StandIn, tmp_path: Path) -> None:
    for one in arxiv.papers[:300]:
        one.published += timedelta(days=3)
    arxiv.papers[300].published = NEWEST.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    harvest = fetch(arxiv, tmp_path, 20, wanted={"categories": ("cs.AI",)})
    assert set(harvest.table()["published"]) == {UNTIL.isoformat()}
    since = {"categories": ("cs.AI",), "since": UNTIL + timedelta(days=1), "until": None}
    later = fetch(arxiv, tmp_path, 50, wanted=since)
    assert later.table()["published"].min() > UNTIL.isoformat()


def test_a_paper_revised_meanwhile_has_one_text(arxiv: StandIn, tmp_path: Path) -> None:
    both = next(p for p in arxiv.papers if {"cs.AI", "cs.CL"} <= set(p.categories))

    class Revising(Wanted):
        def holds(self, paper: Any) -> bool:  # called while the first category comes in
            both.title, both.updated = "A new title", NEWEST + timedelta(days=9)
            return super().holds(paper)

    wanted = Revising(100, until=UNTIL, categories=("cs.AI", "cs.CL"))
    harvest = arxiv_source.fetch(wanted, tmp_path, url=arxiv.api, policy=QUICK, page_size=60)
    rows = check_papers(harvest.table(), "arXiv").query("id == @both.id")
    assert list(rows["title"]) == ["A new title"] * 2


def test_papers_without_text_are_left_out_and_counted(arxiv: StandIn, tmp_path: Path) -> None:
    named = [p for p in arxiv.papers if "cs.AI" in p.categories]
    named[3].summary, named[5].title = "", "N/A"
    harvest = fetch(arxiv, tmp_path, 100, wanted={"categories": ("cs.AI",)})
    assert harvest.unreadable == 2
    assert len(harvest.table()) == 100


def interrupted(server: StandIn, cache: Path, **wanted: Any) -> Path:
    """Begin a fetch that the server refuses to go on with; returns the state that it left."""
    server.faults = [None, None, "refuse"]
    with pytest.raises(UserError):
        fetch(server, cache, wanted=wanted)
    return next((cache / "arxiv").glob("*/fetch.json"))


def test_old_pages_are_forgotten(arxiv: StandIn, tmp_path: Path) -> None:
    state = interrupted(arxiv, tmp_path)
    first = arxiv.asked()[0]
    fetch(arxiv, tmp_path)
    assert arxiv.asked().count(first) == 1
    os.utime(state, (0, 0))
    fetch(arxiv, tmp_path)
    assert arxiv.asked().count(first) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b"[1]", b'{"until": 5}'])
def test_a_damaged_state_is_none(arxiv: StandIn, tmp_path: Path, damage: bytes) -> None:
    interrupted(arxiv, tmp_path).write_bytes(damage)
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)


def test_damaged_pages_are_asked_for_again(arxiv: StandIn, tmp_path: Path) -> None:
    folder = interrupted(arxiv, tmp_path).parent
    first, second = sorted(folder.glob("*.xml.gz"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-30])
    before = len(arxiv.requests)
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)
    assert set(arxiv.asked()[:2]) <= set(arxiv.asked()[before:])


def test_an_open_window_keeps_its_end_when_it_goes_on(arxiv: StandIn, tmp_path: Path) -> None:
    state = interrupted(arxiv, tmp_path, until=None)
    until = datetime.fromisoformat(json.loads(state.read_text(encoding="utf-8"))["until"])
    state.write_text(json.dumps({"until": (until - timedelta(hours=1)).isoformat()}))
    before = len(arxiv.requests)
    fetch(arxiv, tmp_path, wanted={"until": None})
    assert f"{until - timedelta(hours=1):%Y%m%d%H%M}" in arxiv.asked()[before]


def test_a_window_in_the_future_is_named(arxiv: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fetch\.since: 2099-01-01 lies in the future"):
        fetch(arxiv, tmp_path, wanted={"since": date(2099, 1, 1), "until": None})


def test_a_pause_is_kept_after_kill_9_in_the_middle_of_a_request(tmp_path: Path) -> None:
    with serving(papers=entries(50), faults=["hang"]) as server:
        command = [sys.executable, "-c", KILLED, server.api, str(tmp_path), "none"]
        first = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        while not server.requests:
            assert first.poll() is None
            time.sleep(0.005)
        first.kill()
        first.wait()
        fetch(server, tmp_path, 5, policy=RetryPolicy(pause=1.0), allow_fewer=True)
        assert server.requests[1]["time"] - server.requests[0]["time"] >= 0.95


def test_a_pause_is_kept_when_the_clock_is_set_back(arxiv: StandIn, tmp_path: Path) -> None:
    stamp = tmp_path / "arxiv.last-request"
    stamp.touch()
    os.utime(stamp, (time.time() + 3600, time.time() + 3600))
    started = time.monotonic()
    fetch(
        arxiv,
        tmp_path,
        5,
        wanted={"categories": ("cs.AI",)},
        policy=RetryPolicy(pause=0.3),
        page_size=500,
    )
    assert time.monotonic() - started >= 0.6


KILLED = """
import sys
from pathlib import Path
from datetime import date
from arxiv_hybrid.sources import arxiv_source
from arxiv_hybrid.system.web import RetryPolicy
url, cache, out = sys.argv[1:]
wanted = arxiv_source.Wanted(150, until=date(2025, 11, 17))
harvest = arxiv_source.fetch(
    wanted, Path(cache), url=url, policy=RetryPolicy(pause=0.05), page_size=60
)
harvest.table().to_csv(out, index=False)
"""


def test_after_kill_9_only_what_is_missing_is_asked_for(arxiv: StandIn, tmp_path: Path) -> None:
    whole = fetch(arxiv, tmp_path / "other").table()
    every = set(arxiv.asked())
    arxiv.requests.clear()
    out = tmp_path / "papers.csv"
    command = [sys.executable, "-c", KILLED, arxiv.api, str(tmp_path / "cache"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while len(arxiv.requests) < 6:
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not out.exists()
    before = arxiv.asked()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "going on with an interrupted fetch" in second.stderr
    after = arxiv.asked()[len(before) :]
    assert set(before) | set(after) == every
    assert len(set(before) & set(after)) <= 1, "at most the page that was under way"
    pd.testing.assert_frame_equal(pd.read_csv(out, dtype=str), whole)


def run_stage(folder: Path, server: StandIn, **changes: Any) -> subprocess.CompletedProcess[str]:
    """`python stages/fetch.py` in a folder with our scripts and fetch parameters of its own."""
    for name in ("src", "stages"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    changed = merged(params, {"fetch": {"source": "arxiv", "until": UNTIL.isoformat(), **changes}})
    (folder / "params.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    places = {"ARXIV_API_URL": server.api, "ARXIV_HYBRID_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "stages/fetch.py"],
        cwd=folder,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_stage_writes_whole_tables_or_none(arxiv: StandIn, tmp_path: Path) -> None:
    arxiv.faults = ["refuse"]
    refused = run_stage(tmp_path, arxiv)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: arXiv, cs.AI: the API says: max_results")
    assert not (tmp_path / "data").exists()
    done = run_stage(tmp_path, arxiv, per_category=1000, allow_fewer=True)
    assert done.returncode == 0, done.stderr
    papers = pd.read_csv(tmp_path / "data/raw/papers.csv", dtype=str, keep_default_na=False)
    assert {n: list(papers.loc[papers["category"] == n, "id"]) for n in CATEGORIES} == expected(
        arxiv, 1000
    )
    assert "newest papers up to 2025-11-18T00:00Z" in done.stdout
    times = [request["time"] for request in arxiv.requests]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 3, "the terms of use"


def test_a_random_sample_is_no_business_of_the_api(arxiv: StandIn, tmp_path: Path) -> None:
    told = run_stage(tmp_path, arxiv, sample="random")
    assert told.returncode == 2
    assert "sample random needs source snapshot" in told.stderr
