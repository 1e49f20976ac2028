"""The metadata dump: which papers are selected, and the errors for damaged files."""

from __future__ import annotations

import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import DEFAULTS, merged

from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.sources.fetch import FetchResult, Workspace, fetch_snapshot
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import Selection, read_snapshot
from arxiv_hybrid.system import streams
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import unaliased
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

FIELDS = ("math.CO", "cs.AIX", "cs.LO", *CATEGORIES)


def record(number: int, categories: str, **changes: Any) -> dict[str, Any]:
    month = number // 50  # fifty papers per month, from 2024-01
    return {
        "id": f"{24 + month // 12:02}{month % 12 + 1:02}.{number % 50 + 1:05}",
        "submitter": "N. N.",
        "title": f"On topic\n  {number}",
        "abstract": f'  We study number {number}, "categories": "cs.AI" and é.\n',
        "categories": categories,
        "versions": [{"version": "v1", "created": _created(month, number)}],
        **changes,
    }


def _created(month: int, number: int) -> str:
    day = date(2024 + month // 12, month % 12 + 1, number % 50 // 2 + 1)
    return f"{day:%a, %d %b %Y} 10:00:00 GMT"


def records(count: int = 1200, seed: int = 3) -> list[dict[str, Any]]:
    """Papers in random order, each with one to three categories."""
    random = np.random.default_rng(seed)
    ordered = [
        record(i, " ".join(random.permutation(FIELDS)[: random.integers(1, 4)]))
        for i in range(count)
    ]
    return [ordered[i] for i in random.permutation(count)]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path, **changes: Any) -> Selection:
    settings: dict[str, Any] = {
        "categories": CATEGORIES, "per_category": 40, "sample": "newest", "seed": 1,
        "window": Window(), **changes
    }  # fmt: skip
    return read_snapshot(path, **settings)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write(tmp_path / "dump.json", records())


def test_newest_papers_of_each_category_in_order(dump: Path) -> None:
    table = read(dump).table()
    for name in CATEGORIES:
        listing = [r for r in records() if name in r["categories"].split()]
        newest = sorted((r["id"] for r in listing), reverse=True)[:40]
        assert table.loc[table["category"] == name, "id"].tolist() == newest
    paper = table.iloc[0]
    source = next(r for r in records() if r["id"] == paper["id"])
    assert paper["title"] == " ".join(source["title"].split())
    assert paper["abstract"] == " ".join(source["abstract"].split())
    assert paper["all_categories"] == source["categories"].replace(" ", ",")
    assert paper["primary_category"] == source["categories"].split()[0]
    assert paper["published"][:7] == f"20{paper['id'][:2]}-{paper['id'][2:4]}"


def pack_gz(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def pack_xz(path: Path, content: bytes) -> None:
    path.write_bytes(lzma.compress(content))


def pack_zip(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dump.json", content)


PACKERS: dict[str, Callable[[Path, bytes], None]] = {"gz": pack_gz, "xz": pack_xz, "zip": pack_zip}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("block", [100, 1000, 8 << 20])
def test_compression_and_block_size_change_nothing(
    dump: Path, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read(dump)
    packed = dump.with_name(f"dump.json.{kind}")
    PACKERS[kind](packed, dump.read_bytes().rstrip(b"\n"))
    monkeypatch.setattr(streams, "BLOCK_SIZE", block)
    again = read(packed)
    pd.testing.assert_frame_equal(plain.table(), again.table())
    assert again.lines == plain.lines == 1200


@pytest.mark.parametrize("categories", [CATEGORIES, None])
def test_parallel_scan_changes_nothing(
    dump: Path, categories: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_SIZE", 20_000)
    one, two = (read(dump, categories=categories, processes=number) for number in (1, 2))
    pd.testing.assert_frame_equal(one.table(), two.table())
    assert (one.lines, one.unknown, one.first_unknown) == (
        two.lines,
        two.unknown,
        two.first_unknown,
    )
    assert one.unknown > 0


def test_random_sample_depends_only_on_seed_and_id(tmp_path: Path, dump: Path) -> None:
    chosen = read(dump, sample="random").table()
    assert not chosen.equals(read(dump, sample="random", seed=2).table())
    assert not chosen.equals(read(dump).table())
    other = write(tmp_path / "other.json", sorted(records(), key=lambda r: str(r["id"])))
    pd.testing.assert_frame_equal(chosen, read(other, sample="random").table())
    # without papers that were not sampled, the sample is the same
    fewer = [r for r in records() if r["id"] in set(chosen["id"]) or r["id"].startswith("2401")]
    pd.testing.assert_frame_equal(
        chosen, read(write(tmp_path / "fewer.json", fewer), sample="random").table()
    )


def test_window_includes_both_of_its_days(dump: Path) -> None:
    window = Window(date(2024, 3, 5), date(2024, 3, 9))
    days = set(read(dump, window=window).table()["published"])
    assert days == {f"2024-03-0{day}" for day in range(5, 10)}


def test_window_uses_the_month_of_the_id_without_versions(tmp_path: Path) -> None:
    lines = records()
    for line in lines:
        del line["versions"]
    path = write(tmp_path / "bare.json", lines)
    table = read(path, window=Window(date(2024, 3, 1), date(2024, 3, 9))).table()
    assert set(table["id"].str[:4]) == {"2403"}
    assert set(table["published"]) == {""}


def test_old_ids_sort_before_new_ones(tmp_path: Path) -> None:
    lines = [
        record(0, "cs.AI", id="cs/9912001"), record(1, "cs.AI", id="cs.LG/0101002"),
        record(2, "cs.AI", id="0704.0001"), record(3, "cs.AI"),
    ]  # fmt: skip
    ids = read(write(tmp_path / "old.json", lines)).table()["id"].tolist()
    assert ids == ["2401.00004", "0704.0001", "cs/0101002", "cs/9912001"]


def test_papers_without_text_are_counted_and_left_out(tmp_path: Path) -> None:
    lines = [
        record(0, "cs.AI"), record(1, "cs.AI", abstract=" \n"), record(2, "cs.CL", title="0"),
        record(3, "cs.LG", abstract="None"), record(4, "hep-th", title=""),
    ]  # fmt: skip
    selection = read(write(tmp_path / "dump.json", lines))
    assert selection.unreadable == 2
    assert selection.table()["title"].tolist() == ["On topic 0", "0"]
    assert read(tmp_path / "dump.json", categories=None).unreadable == 3


def test_unusual_but_readable_lines(tmp_path: Path) -> None:
    lines = [
        record(0, "cs.AI,cs.LG"), record(1, "cs.CL cs.CL"), record(2, "stat.ML"),
        record(3, "cs.CV", title="Half a \ud835 pair"), record(3, "cs.CV"),
        record(4, "cs.AI", id="2401.00005v2"),
    ]  # fmt: skip
    path = write(tmp_path / "dump.json", lines)
    text = path.read_text().replace('"stat.ML"', '"stat.ML\\u0020cs.LG"')
    path.write_text(text + "\n\n")
    selection = read(path, per_category=2)
    table = selection.table()
    assert table["id"].tolist() == [
        "2401.00005", "2401.00001", "2401.00002", "2401.00004", "2401.00003", "2401.00001"
    ]  # fmt: skip
    assert table["all_categories"].tolist()[-2:] == ["stat.ML,cs.LG", "cs.AI,cs.LG"]
    assert table["title"].str.encode("utf-8").notna().all()
    assert selection.lines == 6


def test_file_without_line_endings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_SIZE", 1000)
    monkeypatch.setattr(streams, "MAX_LINE", 5000)
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(records(60)))
    with pytest.raises(UserError, match="line 1 is longer than"):
        read(path)


def test_encrypted_zip_is_reported(tmp_path: Path, dump: Path) -> None:
    path = tmp_path / "dump.zip"
    pack_zip(path, dump.read_bytes())
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag for encryption, in both headers of the member
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"this kind of \.zip cannot be read"):
        read(path)


def damaged(tmp_path: Path, kind: str) -> Path:
    """Write a file with one kind of damage."""
    good = "".join(json.dumps(r) + "\n" for r in records(60)).encode()
    lines = good.splitlines(keepends=True)
    path = tmp_path / f"dump.json.{kind if kind in ('gz', 'xz', 'zip') else 'txt'}"
    if kind in PACKERS:
        PACKERS[kind](path, good)
        path.write_bytes(path.read_bytes()[: -len(good) // 40])
    elif kind == "html.gz":
        path = tmp_path / "dump.json.gz"
        path.write_bytes(b"<html>Moved</html>")
    elif kind == "two":
        path = tmp_path / "dump.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.json", good)
            archive.writestr("b.json", good)
    elif kind == "cut":
        path.write_bytes(good[:-40])
    elif kind == "not JSON":
        path.write_bytes(b"".join([*lines[:2], b"hello\n", *lines[2:]]))
    elif kind == "list":
        path.write_bytes(b"".join([*lines[:2], b"[1]\n", *lines[2:]]))
    elif kind == "no categories":
        path.write_bytes(b"".join([*lines[:2], b'{"id": "2401.00001"}\n', *lines[2:]]))
    elif kind == "broken":
        path.write_bytes(
            b"".join([*lines[:2], json.dumps(record(5, "cs.CV"))[:-9].encode(), b"\n"])
        )
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        changes = {
            "no title": {"title": None},
            "id": {"id": "12"},
            "versions": {"versions": [{"created": 5}]},
        }
        path.write_bytes(lines[0] + json.dumps(record(5, "cs.CV", **changes[kind])).encode())
    return path


@pytest.mark.parametrize("categories", [CATEGORIES, None])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("gz", "the .gz file is truncated or damaged"),
        ("xz", "the .xz file is truncated or damaged"),
        ("zip", "the .zip file is truncated or damaged"),
        ("html.gz", "is a web page; download the file again"),
        ("two", "expected one file"),
        ("cut", "line 60: invalid JSON"),
        ("not JSON", "line 3: invalid JSON"),
        ("list", "line 3: not a JSON object"),
        ("no categories", "line 3: no categories"),
        ("broken", "line 3: invalid JSON"),
        ("empty", "is empty"),
        ("no title", "line 2: title is missing"),
        ("id", "line 2: id '12' is not an arXiv id"),
        ("versions", "line 2: versions is malformed"),
    ],
)
def test_damage_is_reported(
    tmp_path: Path, kind: str, message: str, categories: tuple[str, ...] | None
) -> None:
    path = damaged(tmp_path, kind)
    with pytest.raises(UserError) as caught:
        read(path, categories=categories)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "none.json")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)


def params(labels: dict[str, Any] | None = None, **fetch: Any) -> Params:
    content = yaml.safe_load((DEFAULTS / "params.yaml").read_text(encoding="utf-8"))
    changes = {"fetch": {"source": "snapshot", **fetch}, "labels": labels or {}}
    return parse(merged(content, changes), "params")


def fetched(dump: Path, labels: dict[str, Any] | None = None, **fetch: Any) -> FetchResult:
    workspace = Workspace(dump.parent, lambda: dump.parent, dump.parent)
    return fetch_snapshot(params(labels, path=str(dump), **fetch), workspace)


def test_too_few_papers_are_an_error_unless_allowed(dump: Path) -> None:
    with pytest.raises(UserError, match=r"of cs\.AI.*fetch\.allow_fewer"):
        fetched(dump, per_category=2000)
    few = fetched(dump, per_category=2000, allow_fewer=True)
    assert 0 < len(few.papers) < 8000
    assert "only " in few.remark
    enough = fetched(dump, per_category=40)
    assert enough.papers["category"].value_counts().eq(40).all()
    assert enough.origin["lines"] == 1200
    told = fetched(dump, {"classes": "all"}, per_category=2000)
    assert told.papers["id"].nunique() > 1000
    assert " of cs.AI" in told.remark


WIDE = ("math.AG", "math.NA", "cs.NA", "stat.TH", "math.ST", "hep-th", "alg-geom", "cs.RO")


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Papers of several archives, some under the second name of a category."""
    random = np.random.default_rng(5)
    listings = [" ".join(random.permutation(WIDE)[: random.integers(1, 4)]) for _ in range(400)]
    return write(tmp_path / "wide.json", [record(i, listed) for i, listed in enumerate(listings)])


def listing(path: Path) -> dict[str, list[str]]:
    """The categories of each paper, second names replaced, newest first."""
    lines = sorted(map(json.loads, path.read_text().splitlines()), key=lambda r: r["id"])
    return {r["id"]: [unaliased(name) for name in r["categories"].split()] for r in lines[::-1]}


@pytest.mark.parametrize("per_category", [None, 30])
def test_one_row_per_paper_that_lists_a_wanted_category(
    wide: Path, per_category: int | None
) -> None:
    labels = {"classes": ["math.NA", "cs.RO", "math.ST"]}
    papers = fetched(wide, labels, per_category=per_category).table()
    chosen = set()
    for name in labels["classes"]:
        chosen |= set([i for i, names in listing(wide).items() if name in names][:per_category])
    assert papers["id"].tolist() == sorted(chosen, reverse=True)
    assert (papers["category"] == papers["primary_category"]).all()
    assert set(papers["primary_category"]) == set(WIDE), "second names stay as written"


def test_archives_and_everything(wide: Path) -> None:
    math = fetched(wide, {"classes": ["math.*", "hep-th"]}).table()
    in_math = {"math.AG", "math.NA", "math.ST", "hep-th"}
    assert math["id"].tolist() == [i for i, names in listing(wide).items() if in_math & {*names}]
    every = fetched(wide, {"classes": "archives"}).table()
    assert every["id"].tolist() == list(listing(wide))
    star = fetched(wide, {"classes": ["cs.RO", "hep-th"]}, categories=["*"]).table()
    pd.testing.assert_frame_equal(every, star)
    outside = fetched(wide, {"classes": 3, "outside": "other"}).table()
    pd.testing.assert_frame_equal(every, outside)


def test_rows_per_query_of_any_categories(wide: Path) -> None:
    labels = {"classes": ["hep-th", "math.NA"], "from": "query"}
    papers = fetched(wide, labels).table()
    rows = [
        (i, name) for name in labels["classes"] for i, names in listing(wide).items()
        if name in names
    ]  # fmt: skip
    assert list(zip(papers["id"], papers["category"], strict=True)) == rows


def test_limits_hold_in_every_category(wide: Path) -> None:
    selection = read(wide, categories=None, per_category=7)
    found = ["cs.RO", "hep-th", "math.AG", "math.NA", "math.ST"]
    assert selection.counts() == dict.fromkeys(found, 7)
    assert len(selection._papers) == selection.table()["id"].nunique() <= 5 * 7
    assert read(wide, categories=None, per_category=None).counts()["math.AG"] > 100


def test_the_random_sample_of_everything(wide: Path) -> None:
    some = read(wide, categories=None, per_category=10, sample="random").table(per_query=False)
    other = read(wide, categories=None, per_category=10, sample="random", seed=2).table()
    assert not set(some["id"]) <= set(other["id"])
    assert some["id"].is_monotonic_decreasing


def test_names_that_are_no_category_are_counted_with_their_line(tmp_path: Path) -> None:
    lines = [record(0, "cs.AI"), record(1, "cs.CY acmart"), record(2, "x na"), record(3, "cs.CV x")]
    path = write(tmp_path / "odd.json", lines)
    everything = fetched(path, {"classes": "all"})
    assert everything.origin["unknown_categories"] == 4
    assert everything.origin["first_unknown_category"] == "acmart in line 2"
    assert everything.origin["uncategorized"] == 1
    assert "4 unknown categories ignored, the first acmart in line 2" in everything.remark
    assert "1 paper without a category left out" in everything.remark
    assert everything.table()["all_categories"].tolist() == ["cs.CV", "cs.CY", "cs.AI"]
    few = fetched(path, per_category=1, allow_fewer=True)
    assert few.origin["unknown_categories"] == 1, "only papers that are read count"
    assert few.origin["first_unknown_category"] == "x in line 4"


@pytest.mark.parametrize("categories", [("cs.AI", "cs.CL"), None])
@pytest.mark.parametrize("block", [300, 8 << 20])
def test_spellings_of_categories_are_understood_alike(
    tmp_path: Path, categories: tuple[str, ...] | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spellings = ["cs.AI cs.CL", "['cs.AI', 'cs.CL']", "CS.AI;cs.cl", "cs.AI|cs.CL", "cs.AI,cs.CL",
                 ["cs.AI", "cs.CL"], ["cs.AI cs.CL"], "cs.AI cs.CL I.2.7"]  # fmt: skip
    lines = [record(i, "") | {"categories": written} for i, written in enumerate(spellings)]
    path = write(tmp_path / "dump.json", lines)
    path.write_text(
        path.read_text() + json.dumps(record(9, "cs.AI cs.CL")).replace(" cs.CL", "\\u0020cs.CL")
    )
    monkeypatch.setattr(streams, "BLOCK_SIZE", block)
    selection = read(path, categories=categories, per_category=None)
    table = selection.table(per_query=False)
    assert len(table) == selection.lines == 9
    assert set(table["all_categories"]) == {"cs.AI,cs.CL"}
    assert selection.unknown == 0


def test_repeated_papers_count_once(tmp_path: Path) -> None:
    lines = [record(0, "cs.AI"), record(0, "cs.AI"), record(1, "cs.CL")]
    result = fetched(write(tmp_path / "twice.json", lines), {"classes": "all"})
    assert len(result.papers) == 2
    assert "1 repeated line left out" in result.remark


def test_everything_left_out_is_counted(tmp_path: Path) -> None:
    lines = [
        record(0, "cs.AI"), record(1, "hep-th"), record(2, "cs.CL", abstract=""),
        record(3, "cs.AI", versions=[{"created": "Mon, 1 Jan 2018 00:00:00 GMT"}]),
        record(4, "cs.AI"), record(5, "cs.AI"), record(5, "cs.AI"), record(6, "math.AG"),
    ]  # fmt: skip
    path = write(tmp_path / "dump.json", lines)
    labels = {"classes": ["cs.AI", "cs.CL"]}
    for per_category, beyond in ((1, 2), (None, 0)):
        result = fetched(
            path, labels, since="2024-01-01", per_category=per_category, allow_fewer=True
        )
        counts = {"lines": 8, "other_categories": 2, "outside_window": 1, "unreadable": 1,
                  "repeated": 1, "beyond_per_category": beyond}  # fmt: skip
        assert {name: result.origin[name] for name in counts} == counts
        left_out = sum(counts.values()) - counts["lines"]
        assert len(result.papers) == counts["lines"] - left_out
        assert "8 lines read; 2 papers of no wanted category left out" in result.remark
        assert "1 paper outside fetch.since and fetch.until left out" in result.remark
        assert ("beyond fetch.per_category" in result.remark) == (beyond > 0)
    everything = fetched(path, {"classes": "all"})
    assert (everything.origin["other_categories"], everything.origin["outside_window"]) == (0, 0)


@pytest.mark.parametrize("categories", [("cs.AI",), None])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"categories": "cs.AI", "id": 2511.10, "title": "T", "abstract": "A"}',
         "line 2: id 2511.1 is a number, which loses zeros at its end: write ids as strings"),
        ('{"categories": "cs.AI", "id": "2511.001", "title": "T", "abstract": "A"}',
         "line 2: id '2511.001' is not an arXiv id"),
        ('{"categories": "cs.AI", "id": "%s"' % ("x" * 10**6) + ', "title": "", "abstract": ""}',
         "line 2: id 'xxx"),
        ('{"categories": "cs.AI", "a": ' + "[" * 10**5, "line 2: invalid JSON: nested too deeply"),
        ('{"categories": "cs.AI", "id": ' + "9" * 5000 + ', "title": "T", "abstract": "A"}',
         "line 2: id is"),
        ('{"categories": "' + "cs.AI " * 2000 + '"}', "categories of 12,000 characters"),
        ('{"categories": ["' + '", "'.join(["cs.AI"] * 2000) + '"]}', "categories of 11,999 char"),
    ],
)  # fmt: skip
def test_odd_json_is_one_short_line(
    tmp_path: Path, line: str, message: str, categories: tuple[str, ...] | None
) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(record(0, "cs.AI")) + f"\n{line}\n")
    with pytest.raises(UserError) as caught:
        read(path, categories=categories)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("classes", [["cs.AI", "cs.CL"], "all"])
def test_ids_that_became_numbers_are_told(tmp_path: Path, classes: Any) -> None:
    lines = [record(9, "cs.AI", id="2401.0001"), record(9, "cs.AI"), record(10, "cs.CL")]
    result = fetched(write(tmp_path / "dump.json", lines), {"classes": classes}, since="2024-01-01")
    assert result.origin["ids_without_zeros"] == 1
    assert "1 id without the last zero, the first 2401.0001: a program read ids" in result.remark


def test_numbers_of_5000_digits_elsewhere_in_a_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    line = json.dumps(record(0, "cs.AI"))[:-1] + ', "n": ' + "9" * 5000 + "}\n"
    path.write_text(line)
    assert len(read(path).table()) == 1


def test_a_nul_in_a_text_does_not_cut_it(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.json", [record(0, "cs.AI", abstract="One\0two.")])
    papers = read(path).table()
    assert papers["abstract"].tolist() == ["One two."]


def test_a_dump_has_no_labels_of_ones_own(dump: Path) -> None:
    with pytest.raises(UserError, match=r"from: column needs fetch\.source: csv, not snapshot"):
        fetched(dump, {"from": "column"})


def test_window_params_are_validated() -> None:
    fetch = params(path="x", since="2025-01-01", until="2025-02-01").fetch
    assert Window.parse(fetch.since, fetch.until) == Window(date(2025, 1, 1), date(2025, 2, 1))
    with pytest.raises(UserError, match="fetch: since 2025-03-01 is after until"):
        params(path="x", since="2025-03-01", until="2025-02-01")
    for wrong in ("yesterday", "20251117", "2025-02-30"):
        with pytest.raises(UserError, match=r"fetch\.until.*expected a day"):
            params(path="x", until=wrong)
    with pytest.raises(UserError, match="snapshot needs"):
        params(path=None)
