"""The arXiv source: the real client against a server with the faults of arXiv's API."""

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
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import yaml
from conftest import DEFAULTS, ROOT, merged
from fake_server import NEWEST, FakeServer, entries, serving

from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.sources import arxiv_source
from arxiv_hybrid.sources.arxiv_pagination import FetchSpec
from arxiv_hybrid.sources.arxiv_source import FetchedPapers
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.retry import RetryPolicy
from arxiv_hybrid.taxonomy.categories import archive_of, categories
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, expand

FAST = RetryPolicy(min_interval=0.0, attempts=5, first_wait=0.01, timeout=0.5, body_timeout=1.0)
UNTIL = NEWEST.date()


@pytest.fixture
def arxiv() -> Iterator[FakeServer]:
    with serving(papers=entries(700)) as server:
        yield server


def fetch(
    server: FakeServer, cache: Path, count: int | None = 150, **changes: Any
) -> FetchedPapers:
    policy = changes.pop("policy", FAST)
    settings = {"categories": CATEGORIES, "until": UNTIL, **changes.pop("spec", {})}
    spec = FetchSpec(per_category=count, **settings)
    return arxiv_source.fetch(
        spec, cache, url=server.api, policy=policy, **{"page_size": 60, **changes}
    )


def expected(server: FakeServer, count: int = 150) -> dict[str, list[str]]:
    newest = sorted(server.papers, key=lambda paper: paper.published, reverse=True)
    return {name: [p.id for p in newest if name in p.categories][:count] for name in CATEGORIES}


def ids(fetched: FetchedPapers) -> dict[str, list[str]]:
    table = fetched.table()
    return {name: list(table.loc[table["category"] == name, "id"]) for name in CATEGORIES}


@pytest.mark.parametrize("whole_minutes", [False, True])
def test_newest_papers_arrive_exactly_once(
    arxiv: FakeServer, tmp_path: Path, whole_minutes: bool
) -> None:
    arxiv.whole_minutes = whole_minutes
    fetched = fetch(arxiv, tmp_path)
    assert ids(fetched) == expected(arxiv)
    table = check_papers(fetched.table(), "arXiv")
    first = table.iloc[0]
    assert first["title"].startswith("On é & <topic>")
    assert not table["all_categories"].str.contains("I.2|68T").any()
    by_id = {paper.id: paper for paper in arxiv.papers}
    assert (table["primary_category"] == [by_id[i].categories[0] for i in table["id"]]).all()
    assert (table["published"] == [f"{by_id[i].published:%Y-%m-%d}" for i in table["id"]]).all()


def test_terms_of_use_are_respected(arxiv: FakeServer, tmp_path: Path) -> None:
    policy = RetryPolicy(min_interval=0.05)
    fetch(arxiv, tmp_path, policy=policy)
    times = [request["time"] for request in arxiv.requests]
    assert len(times) >= 12
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05
    assert arxiv.max_concurrent == 1
    assert len({request["client"] for request in arxiv.requests}) == 1, "one connection"
    assert all(str(request["agent"]).startswith("arxiv-hybrid/") for request in arxiv.requests)
    assert arxiv_source.RETRY_POLICY.min_interval >= 3


def test_rate_limit_holds_between_two_fetches(arxiv: FakeServer, tmp_path: Path) -> None:
    fetch(arxiv, tmp_path, 5, spec={"categories": ("cs.AI",)})
    last = arxiv.requests[-1]["time"]
    count = len(arxiv.requests)
    fetch(arxiv, tmp_path, 6, spec={"categories": ("cs.AI",)}, policy=RetryPolicy(min_interval=0.3))
    assert arxiv.requests[count]["time"] - last >= 0.3


BARE_ERROR = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns="http://www.w3.org/2005/Atom">
<opensearch:totalResults>1</opensearch:totalResults><entry>
<id>https://arxiv.org/api/errors#incorrect_id_format_for_abc</id><title>Error</title>
<updated>2026-04-12T22:59:06Z</updated><summary>incorrect id format for abc</summary>
</entry></feed>
"""  # without `published`, as arXiv sends it
HARMLESS = ["doubled at start", "backwards", "total", "gzip"]  # even if they persist
FAULTS = [
    "empty",
    "nothing",
    "no total",
    "bad date",
    "short",
    "hole",
    "cut",
    "cut without length",
    "html",
    "hang",
    "drip",
    {"status": 429, "Retry-After": 0},
    {"status": 406},
    {"status": 503},
    {"status": 500},
]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("fault", [*FAULTS, *HARMLESS, "withdrawn", "bad XML"], ids=str)
def test_all_papers_arrive_once_after_a_fault(
    arxiv: FakeServer, tmp_path: Path, fault: Any, at: int
) -> None:
    arxiv.faults = [None] * at + [fault]
    fetched = fetch(arxiv, tmp_path, spec={"categories": ("cs.AI",)})
    assert ids(fetched)["cs.AI"] == expected(arxiv)["cs.AI"]
    assert fetched.missing == 0
    assert set(fetched.table()["abstract"].str[:9]) == {"We study "}
    fetched.delete_checkpoint()
    assert not list((tmp_path / "arxiv").glob("*/*")), "the pages of a finished fetch are deleted"


@pytest.mark.parametrize(("seconds", "size"), [(37, 500), (37, 60), (0, 60)])
def test_repeated_paper_does_not_hide_the_last_ones(
    tmp_path: Path, seconds: int, size: int
) -> None:
    with serving(papers=entries(120, seconds=seconds)) as server:
        every = expected(server, 1000)["cs.AI"]
        server.faults = [None] * (len(every) // size) + ["doubled inside"]
        changes = {"spec": {"categories": ("cs.AI",)}, "page_size": size, "allow_fewer": True}
        fetched = fetch(server, tmp_path, 1000, **changes)
        assert sorted(ids(fetched)["cs.AI"]) == sorted(every)
        server.faults = ["doubled inside"] * 100
        incomplete = fetch(server, tmp_path / "other", 1000, **changes)
        assert incomplete.missing == len(every) - len(ids(incomplete)["cs.AI"]) > 0


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_persistent_fault_is_reported_in_one_line(
    arxiv: FakeServer, tmp_path: Path, fault: Any
) -> None:
    arxiv.faults = [None] + [fault] * 100
    with pytest.raises(UserError) as caught:
        fetch(arxiv, tmp_path, spec={"categories": ("cs.AI",)})
    assert "\n" not in str(caught.value)
    assert "arXiv" in str(caught.value)
    assert "same command again" in str(caught.value) or "allow_fewer" in str(caught.value)
    arxiv.faults.clear()
    before = len(arxiv.requests)
    fetched = fetch(arxiv, tmp_path, spec={"categories": ("cs.AI",)})
    assert ids(fetched)["cs.AI"] == expected(arxiv)["cs.AI"]
    assert len(arxiv.requests) > before


@pytest.mark.parametrize("fault", HARMLESS)
def test_harmless_faults_change_nothing(arxiv: FakeServer, tmp_path: Path, fault: str) -> None:
    arxiv.faults = [fault] * 100
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)


def test_page_that_stays_empty_is_halved(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.page_limit = 2000
    arxiv.faults = ["empty", "empty", "empty"]
    fetch(arxiv, tmp_path, 500, page_size=500, spec={"categories": ("cs.AI",)}, allow_fewer=True)
    sizes = [int(path.rpartition("max_results=")[2]) for path in arxiv.paths()[:4]]
    assert sizes == [500, 500, 250, 125]


def test_too_long_a_retry_after_ends_the_fetch(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.faults = [{"status": 429, "Retry-After": 7200}]
    with pytest.raises(UserError, match=r"429.*7,200 s.*same command again"):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


def test_retry_after_is_read_as_seconds_and_as_a_date(arxiv: FakeServer, tmp_path: Path) -> None:
    stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
    arxiv.faults = [{"status": 429, "Retry-After": 1}, {"status": 503, "Retry-After": stamp}]
    fetch(arxiv, tmp_path, 5, spec={"categories": ("cs.AI",)})
    times = [request["time"] for request in arxiv.requests]
    assert times[1] - times[0] >= 1
    assert times[2] - times[1] >= 0.5, "dates have whole seconds"


def test_error_message_of_the_api_is_quoted(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.faults = ["refuse"]
    with pytest.raises(UserError, match="the API says: max_results must be smaller"):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BARE_ERROR, "the API says: incorrect id format for abc"),
        (BARE_ERROR.replace("<title>Error</title>", ""), "the API says: incorrect id format"),
        ("<html>Bad Request</html>", "the API refuses the query without a reason"),
        ("", "the API refuses the query without a reason"),
    ],
)
def test_the_reason_of_status_400_reaches_the_user(
    arxiv: FakeServer, tmp_path: Path, body: str, reason: str
) -> None:
    arxiv.faults = [{"status": 400, "body": body}]
    with pytest.raises(UserError, match=reason):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


@pytest.mark.parametrize("contact", [None, "me@example.org", "https://example.org/me"])
def test_arxiv_is_told_whom_to_contact(
    arxiv: FakeServer, tmp_path: Path, contact: str | None
) -> None:
    fetch(arxiv, tmp_path, 5, spec={"categories": ("cs.AI",)}, contact=contact)
    (agent,) = {request["agent"] for request in arxiv.requests}
    expected = f"; {contact})" if contact else "one connection)"
    assert agent.startswith("arxiv-hybrid/")
    assert agent.endswith(expected)


def test_papers_without_a_date_are_a_gap_that_can_be_accepted(
    arxiv: FakeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arxiv.faults = ["no date"] * 100
    one = {"categories": ("cs.AI",)}
    with pytest.raises(UserError, match=r"counts .* but sent .*fetch\.allow_fewer"):
        fetch(arxiv, tmp_path, 100, spec=one)
    assert (
        "left out, because they have no date: http://arxiv.org/abs/2511." in capfd.readouterr().err
    )
    fetched = fetch(arxiv, tmp_path, 100, spec=one, allow_fewer=True)
    assert fetched.missing > 0


def test_papers_that_were_not_asked_for_are_counted(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.faults = ["foreign"] * 100
    fetched = fetch(arxiv, tmp_path, None, spec={"categories": ("cs.AI",)}, allow_fewer=True)
    assert fetched.unasked == {"2511.99999"}


def test_an_endless_response_is_an_error(
    arxiv: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arxiv_hybrid.system.http._LARGEST_BODY", 10_000)
    with pytest.raises(UserError, match="the response is larger than 0 MiB"):
        fetch(arxiv, tmp_path)
    assert len(arxiv.requests) == 1


def test_fetch_fails_fast_without_a_network(tmp_path: Path) -> None:
    with serving() as server:
        pass
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no connection \(is there a network\?\)"):
        fetch(server, tmp_path)
    assert time.monotonic() - started < 30


def test_result_limit_is_avoided_by_date(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.max_results = 100
    fetched = fetch(arxiv, tmp_path, 250, spec={"categories": ("cs.LG",)})
    assert ids(fetched)["cs.LG"] == expected(arxiv, 250)["cs.LG"]


def test_papers_of_one_minute_are_paged_by_offset(tmp_path: Path) -> None:
    with serving(papers=entries(400, seconds=0)) as server:
        fetched = fetch(server, tmp_path, 100, spec={"categories": ("cs.CV",)})
        assert len(set(ids(fetched)["cs.CV"])) == 100


def test_too_few_papers_are_an_error_unless_allowed(arxiv: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has only \d+ of cs\.AI.*fetch\.allow_fewer"):
        fetch(arxiv, tmp_path, 600)
    before = len(arxiv.requests)
    fetched = fetch(arxiv, tmp_path, 600, allow_fewer=True)
    assert len(arxiv.requests) == before, "all pages were stored"
    assert ids(fetched) == expected(arxiv, 600)


def test_missing_papers_are_counted_if_allowed(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.faults = ["hole", None] * 8
    fetched = fetch(arxiv, tmp_path, 100, spec={"categories": ("cs.AI",)}, allow_fewer=True)
    assert fetched.missing == 1
    assert len(ids(fetched)["cs.AI"]) == 100


def test_window_is_exact_to_the_day(arxiv: FakeServer, tmp_path: Path) -> None:
    for paper in arxiv.papers[:300]:
        paper.published += timedelta(days=3)
    arxiv.papers[300].published = NEWEST.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    fetched = fetch(arxiv, tmp_path, 20, spec={"categories": ("cs.AI",)})
    assert set(fetched.table()["published"]) == {UNTIL.isoformat()}
    since = {"categories": ("cs.AI",), "since": UNTIL + timedelta(days=1), "until": None}
    later = fetch(arxiv, tmp_path, 50, spec=since)
    assert later.table()["published"].min() > UNTIL.isoformat()


def test_paper_revised_during_the_fetch_has_one_text(arxiv: FakeServer, tmp_path: Path) -> None:
    both = next(p for p in arxiv.papers if {"cs.AI", "cs.CL"} <= set(p.categories))

    class Revising(FetchSpec):
        def includes(self, paper: Any) -> bool:  # called while the first category is fetched
            both.title, both.updated = "A new title", NEWEST + timedelta(days=9)
            return super().includes(paper)

    spec = Revising(("cs.AI", "cs.CL"), 100, until=UNTIL)
    fetched = arxiv_source.fetch(spec, tmp_path, url=arxiv.api, policy=FAST, page_size=60)
    rows = check_papers(fetched.table(), "arXiv").query("id == @both.id")
    assert list(rows["title"]) == ["A new title"] * 2


def test_papers_without_text_are_left_out_and_counted(arxiv: FakeServer, tmp_path: Path) -> None:
    listing = [p for p in arxiv.papers if "cs.AI" in p.categories]
    listing[3].summary, listing[5].title = "", "N/A"
    fetched = fetch(arxiv, tmp_path, 100, spec={"categories": ("cs.AI",)})
    assert fetched.unreadable == 2
    assert len(fetched.table()) == 100


MATH = expand(["math"])
MIXED = ("math.AG", "math.NA", "cs.NA", "math.IT", "cs.IT", "hep-th", "math-ph", "stat.ML")


@pytest.fixture
def mixed() -> Iterator[FakeServer]:
    """Papers of several archives, some under the second name of a category."""
    with serving(papers=entries(300, categories=MIXED)) as server:
        yield server


def searches(server: FakeServer) -> set[str]:
    """The queries without their dates."""
    queries = [parse_qs(urlsplit(path).query)["search_query"][0] for path in server.paths()]
    return {query.partition("submittedDate")[0].removesuffix(" AND ") for query in queries}


@pytest.mark.parametrize("fault", [None, "hole", "short", "cut", "empty", "withdrawn"])
def test_an_archive_is_one_query_if_all_papers_are_wanted(
    mixed: FakeServer, tmp_path: Path, fault: Any
) -> None:
    mixed.faults = [None, fault]
    fetched = fetch(mixed, tmp_path, None, spec={"categories": MATH})
    wanted = [p.id for p in mixed.papers if {"math.AG", "math.NA", "cs.NA"} & {*p.categories}]
    table = fetched.table(per_query=False)
    assert table["id"].tolist() == wanted
    assert (table["category"] == table["primary_category"]).all()
    assert searches(mixed) == {"(cat:math.* OR cat:cs.NA OR cat:stat.TH)"}
    check_papers(table, "arXiv")


def test_everything_is_one_query_without_categories(mixed: FakeServer, tmp_path: Path) -> None:
    fetched = fetch(mixed, tmp_path, None, spec={"categories": None, "since": date(2025, 11, 1)})
    assert fetched.table(per_query=False)["id"].tolist() == [p.id for p in mixed.papers]
    assert searches(mixed) == {""}
    queries = fetched.table()
    assert set(queries["category"]) == set(MIXED) - {"cs.NA", "math.IT"}, "second names count once"
    assert not queries.duplicated(["id", "category"]).any()


def test_a_category_is_found_under_both_of_its_names(mixed: FakeServer, tmp_path: Path) -> None:
    fetched = fetch(mixed, tmp_path, 40, spec={"categories": ("math.NA", "hep-th")})
    both = [p.id for p in mixed.papers if {"math.NA", "cs.NA"} & {*p.categories}]
    table = fetched.table()
    assert table.loc[table["category"] == "math.NA", "id"].tolist() == both[:40]
    assert "cs.NA" in ",".join(table["all_categories"]), "aliases keep their name"
    assert searches(mixed) == {"(cat:math.NA OR cat:cs.NA)", "cat:hep-th"}
    once = fetched.table(per_query=False)
    assert sorted(once["id"]) == sorted(set(table["id"]))


def test_number_per_category_of_all_of_arxiv(mixed: FakeServer, tmp_path: Path) -> None:
    fetched = fetch(mixed, tmp_path, 5, spec={"categories": None})
    counts = fetched.counts()
    assert {name for name, number in counts.items() if number} == {
        "math.AG", "math.NA", "cs.IT", "hep-th", "math-ph", "stat.ML"
    }  # fmt: skip
    assert max(counts.values()) == 5
    assert len(searches(mixed)) == len(categories()), "old archives get no new papers"


def test_names_that_are_no_category_are_counted(mixed: FakeServer, tmp_path: Path) -> None:
    mixed.papers[3].categories = ["math.AG", "acmart"]
    mixed.papers[7].categories = ["math.ZZ"]  # as if arXiv had a new category
    fetched = fetch(mixed, tmp_path, None, spec={"categories": MATH})
    assert (fetched.unknown, fetched.uncategorized) == (1, 1)
    assert fetched.first_unknown == f"acmart of {mixed.papers[3].id}"
    assert fetched.missing == 0


def test_patterns_stand_for_whole_archives_only() -> None:
    (subject,) = FetchSpec((*expand(["astro-ph", "cs.RO"]), "eess.SY"), None).subjects()
    assert subject.terms == ("astro-ph.*", "astro-ph", "cs.RO", "eess.SY", "cs.SY")
    assert subject.includes(["astro-ph.GA"])
    assert subject.includes(["hep-th", "cs.SY"])
    assert not subject.includes(["cs.LG", "eess.SP"])
    every = FetchSpec(tuple(categories()), None).subjects()[0].terms
    assert len([term for term in every if term.endswith(".*")]) == len(
        {archive_of(name) for name in categories() if "." in name}
    )


def interrupted(server: FakeServer, cache: Path, **spec: Any) -> Path:
    """Start a fetch that fails after two pages; return the state file of its checkpoint."""
    server.faults = [None, None, "refuse"]
    with pytest.raises(UserError):
        fetch(server, cache, spec=spec)
    return next((cache / "arxiv").glob("*/fetch.json"))


def test_old_checkpoint_is_ignored(arxiv: FakeServer, tmp_path: Path) -> None:
    state = interrupted(arxiv, tmp_path)
    first = arxiv.paths()[0]
    fetch(arxiv, tmp_path)
    assert arxiv.paths().count(first) == 1
    os.utime(state, (0, 0))
    fetch(arxiv, tmp_path)
    assert arxiv.paths().count(first) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b"[1]", b'{"until": 5}'])
def test_damaged_state_starts_a_new_fetch(arxiv: FakeServer, tmp_path: Path, damage: bytes) -> None:
    interrupted(arxiv, tmp_path).write_bytes(damage)
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)


def test_damaged_pages_are_requested_again(arxiv: FakeServer, tmp_path: Path) -> None:
    folder = interrupted(arxiv, tmp_path).parent
    first, second = sorted(folder.glob("*.xml.gz"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-30])
    before = len(arxiv.requests)
    assert ids(fetch(arxiv, tmp_path)) == expected(arxiv)
    assert set(arxiv.paths()[:2]) <= set(arxiv.paths()[before:])


def test_open_window_keeps_its_end_on_resume(arxiv: FakeServer, tmp_path: Path) -> None:
    state = interrupted(arxiv, tmp_path, until=None)
    until = datetime.fromisoformat(json.loads(state.read_text(encoding="utf-8"))["until"])
    state.write_text(json.dumps({"until": (until - timedelta(hours=1)).isoformat()}))
    before = len(arxiv.requests)
    fetch(arxiv, tmp_path, spec={"until": None})
    assert f"{until - timedelta(hours=1):%Y%m%d%H%M}" in arxiv.paths()[before]


def test_window_in_the_future_is_an_error(arxiv: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fetch\.since: 2099-01-01 is in the future"):
        fetch(arxiv, tmp_path, spec={"since": date(2099, 1, 1), "until": None})


def test_rate_limit_holds_after_sigkill_during_a_request(tmp_path: Path) -> None:
    with serving(papers=entries(50), faults=["hang"]) as server:
        command = [sys.executable, "-c", SCRIPT, server.api, str(tmp_path), "none"]
        first = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        while not server.requests:
            assert first.poll() is None
            time.sleep(0.005)
        first.kill()
        first.wait()
        fetch(server, tmp_path, 5, policy=RetryPolicy(min_interval=1.0), allow_fewer=True)
        assert server.requests[1]["time"] - server.requests[0]["time"] >= 0.95


def test_rate_limit_holds_if_the_clock_was_set_back(arxiv: FakeServer, tmp_path: Path) -> None:
    stamp = tmp_path / "arxiv.last-request"
    stamp.touch()
    os.utime(stamp, (time.time() + 3600, time.time() + 3600))
    started = time.monotonic()
    fetch(
        arxiv,
        tmp_path,
        5,
        spec={"categories": ("cs.AI",)},
        policy=RetryPolicy(min_interval=0.3),
        page_size=500,
    )
    assert time.monotonic() - started >= 0.6


SCRIPT = """
import sys
from pathlib import Path
from datetime import date
from arxiv_hybrid.sources import arxiv_source
from arxiv_hybrid.sources.arxiv_pagination import FetchSpec
from arxiv_hybrid.system.retry import RetryPolicy
from arxiv_hybrid.taxonomy.categories import archive_of, categories
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, expand
url, cache, out = sys.argv[1:]
spec = FetchSpec(("cs.AI", "cs.CL", "cs.CV", "cs.LG"), 150, until=date(2025, 11, 17))
fetched = arxiv_source.fetch(
    spec, Path(cache), url=url, policy=RetryPolicy(min_interval=0.05), page_size=60
)
fetched.table().to_csv(out, index=False)
"""


def test_fetch_resumes_after_sigkill(arxiv: FakeServer, tmp_path: Path) -> None:
    whole = fetch(arxiv, tmp_path / "other").table()
    every = set(arxiv.paths())
    arxiv.requests.clear()
    out = tmp_path / "papers.parquet"
    command = [sys.executable, "-c", SCRIPT, arxiv.api, str(tmp_path / "cache"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while len(arxiv.requests) < 6:
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not out.exists()
    before = arxiv.paths()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "resuming an interrupted fetch" in second.stderr
    after = arxiv.paths()[len(before) :]
    assert set(before) | set(after) == every
    assert len(set(before) & set(after)) <= 1, "at most the page in progress is repeated"
    pd.testing.assert_frame_equal(pd.read_csv(out, dtype=str), whole)


def run_stage(
    folder: Path, server: FakeServer, labels: dict[str, Any] | None = None, **changes: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python stages/fetch.py` in `folder`, with changed params of labels and fetch."""
    for name in ("src", "stages"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    params = yaml.safe_load((DEFAULTS / "params.yaml").read_text(encoding="utf-8"))
    changed = merged(params, {"fetch": {"source": "arxiv", "until": UNTIL.isoformat(), **changes},
                              "labels": labels or {}})  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    variables = {"ARXIV_API_URL": server.api, "ARXIV_HYBRID_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "stages/fetch.py"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_stage_writes_a_complete_table_or_none(arxiv: FakeServer, tmp_path: Path) -> None:
    arxiv.faults = ["refuse"]
    refused = run_stage(tmp_path, arxiv)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: arXiv, cs.AI: the API says: max_results")
    assert not (tmp_path / "data").exists()
    done = run_stage(tmp_path, arxiv, per_category=1000, allow_fewer=True)
    assert done.returncode == 0, done.stderr
    papers = pd.read_parquet(tmp_path / "data/raw/papers.parquet")
    assert {n: list(papers.loc[papers["category"] == n, "id"]) for n in CATEGORIES} == expected(
        arxiv, 1000
    )
    assert "newest papers up to 2025-11-18T00:00Z" in done.stdout
    times = [request["time"] for request in arxiv.requests]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 3, "the terms of use"


def test_stage_fetches_a_window_of_an_archive(mixed: FakeServer, tmp_path: Path) -> None:
    next(p for p in mixed.papers if "hep-th" in p.categories).categories.append("acmart")
    labels = {"classes": ["math.*", "hep-th"]}
    done = run_stage(tmp_path, mixed, labels, since="2025-11-17")
    assert done.returncode == 0, done.stderr
    papers = pd.read_parquet(tmp_path / "data/raw/papers.parquet")
    assert papers["id"].is_unique
    names = {"math.AG", "math.NA", "cs.NA", "hep-th"}
    assert papers["id"].tolist() == [p.id for p in mixed.papers if names & {*p.categories}]
    origin = json.loads((tmp_path / "data/raw/origin.json").read_text(encoding="utf-8"))
    assert origin["unknown_categories"] == 1
    assert "1 unknown category ignored, the first acmart of 2511." in done.stdout


def test_all_of_arxiv_needs_a_window_or_a_number(mixed: FakeServer, tmp_path: Path) -> None:
    refused = run_stage(tmp_path, mixed, {"classes": "all"})
    assert refused.returncode == 2
    assert "all of arXiv is too much for its API: set since, or a number" in refused.stderr
    assert not mixed.requests


def test_random_sample_is_refused(arxiv: FakeServer, tmp_path: Path) -> None:
    refused = run_stage(tmp_path, arxiv, sample="random")
    assert refused.returncode == 2
    assert "sample random needs source snapshot" in refused.stderr
