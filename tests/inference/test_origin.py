"""Where a model comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from conftest import merged

from arxiv_hybrid.inference.origin import Origin, one_line, today
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.params import PRETRAINABLE, parse
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.training.provenance import origin_of

REAL = Origin({"a.csv": 9316}, 9316, "2024-01", "2025-11", "2026-02-03")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "trained on 9,316 papers of a.csv, 2024-01 to 2025-11; on 2026-02-03"),
        ({"last_month": "2024-01", "trained": ""}, "trained on 9,316 papers of a.csv, 2024-01"),
        ({"first_month": "", "last_month": ""}, "trained on 9,316 papers of a.csv; on 2026-02-03"),
        (
            {"task": "pre-trained", "sources": {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}},
            "pre-trained on 9,316 papers of a, b, c, 2 more, 2024-01 to 2025-11; on 2026-02-03",
        ),
        (
            {"parent": "an encoder pre-trained on 5 papers", "trained": ""},
            "trained on 9,316 papers of a.csv, 2024-01 to 2025-11; started from an encoder "
            "pre-trained on 5 papers",
        ),
        (
            {"sources": {"synthetic": 9316}, "trained": ""},
            "trained on 9,316 generated papers, so its answers mean nothing for real ones",
        ),
    ],
)
def test_one_line_for_people(change: dict[str, Any], line: str) -> None:
    origin = replace(REAL, **change)
    origin.check()
    assert origin.line() == line
    assert Origin.from_json(origin.to_json()) == origin


@pytest.mark.parametrize(
    "change",
    [
        {"papers": "3"}, {"papers": -1}, {"papers": True}, {"papers": 1.5}, {"papers": 10**12},
        {"sources": ["a"]}, {"sources": None}, {"sources": {"a": "3"}}, {"sources": {"a": -1}},
        {"sources": {"a\nb": 1}}, {"sources": {"a" * 501: 1}},
        {"first_month": "2025-13"}, {"first_month": "2025"}, {"first_month": None},
        {"last_month": 202511}, {"first_month": "2026-01"}, {"last_month": ""},
        {"trained": "yesterday"}, {"trained": "2025-02-30"}, {"trained": "20250203"},
        {"trained": None}, {"parent": 5}, {"parent": "a\x1b[31mb"}, {"task": "guessed"},
        {"task": None}, {"unheard": 1},
    ],
)  # fmt: skip
def test_values_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Origin.from_json(REAL.to_json() | change)


@pytest.mark.parametrize("content", [None, [], "text", 1])
def test_what_is_no_object_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="not an object"):
        Origin.from_json(content)


def papers(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "published"])


REAL_PAPERS = papers(
    ("2511.00001", "2025-11-03"), ("2511.00001", "2025-11-03"), ("2401.00002", ""), ("own 1", "")
)


@pytest.mark.parametrize(
    ("fetch", "name"),
    [
        ({"source": "csv", "path": "some/folder/papers.csv.gz"}, "papers.csv.gz"),
        ({"source": "snapshot", "path": "/data/dump\n.json"}, "dump?.json"),
        ({"source": "arxiv", "path": "forgotten.csv"}, "arxiv"),
    ],
)
def test_a_trained_model_names_its_source_months_papers_and_day(
    fetch: dict[str, Any], name: str, tiny_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1770000000")
    params = parse(merged(tiny_content, {"fetch": fetch}), "params")
    origin = origin_of(REAL_PAPERS, params, None)
    assert origin == Origin({name: 3}, 3, "2024-01", "2025-11", "2026-02-02")
    origin.check()


def test_the_default_run_gives_the_same_origin_on_every_day(
    tiny_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "not read")
    origin = origin_of(
        papers(("synthetic.000001", "2025-01-02")), parse(tiny_content, "params"), None
    )
    assert (origin.synthetic, origin.trained, origin.papers) == (True, "", 1)


@pytest.mark.parametrize(
    ("model", "start"),
    [(PRETRAINABLE, "an encoder"), ("v1", "the word vectors of an encoder")],
)
def test_the_encoder_that_a_model_started_from_is_named(
    model: str, start: str, tiny_content: dict[str, Any]
) -> None:
    changes = {"model": model, "fetch": {"source": "csv", "path": "a.csv"}}
    none = dict.fromkeys(tiny_content["architecture"])
    params = parse({**merged(tiny_content, changes), "architecture": none}, "params")
    learned = Origin({"dump.json": 500}, 500, "2015-01", "2025-10", "2026-01-01", "", "pre-trained")
    encoder = Pretrained(None, {}, {}, frozenset(), learned)  # type: ignore[arg-type]
    origin = origin_of(REAL_PAPERS, params, encoder)
    origin.check()
    assert origin.parent == (f"{start} pre-trained on 500 papers of dump.json, 2015-01 to 2025-10")


def test_the_day_is_that_of_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert today() == "1970-01-01"
    for wrong in ("yesterday", "1" * 30, "1.5"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(UserError, match=r"SOURCE_DATE_EPOCH: .* is not a number of seconds"):
            today()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert today() >= "2025-01-01"


@pytest.mark.parametrize("name", ["a\nb", "x" * 5000, "\udcff.csv", "Übersicht.csv"])
def test_any_name_becomes_one_line(name: str) -> None:
    shown = one_line(name)
    Origin({shown: 1}, 1).check()
    assert shown.encode()
