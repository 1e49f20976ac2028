"""Papers of several files become one corpus: each once, held-out ones never, nothing uncounted."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.data import paper_arrays
from arxiv_hybrid.data.paper_arrays import PaperArrays, load_arrays
from arxiv_hybrid.sources import corpus
from arxiv_hybrid.sources.corpus import CorpusSettings, gather
from arxiv_hybrid.sources.paper_files import Read, papers_in
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.tokenize import tokenize

SETTINGS = CorpusSettings(
    vocabulary=1000, min_freq=1, title_length=4, abstract_length=6, min_papers=2
)


def paper(number: int, categories: str = "cs.LG", **changes: str) -> dict[str, str]:
    return {
        "id": f"2501.{number:05}",
        "title": f"Title {number}",
        "abstract": f"We study abstract {number}.",
        "categories": categories,
        **changes,
    }


def dump(path: Path, papers: list[dict[str, str]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in papers).encode()
    packed = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(packed(text))
    return path


def csv(path: Path, papers: list[dict[str, str]]) -> Path:
    pd.DataFrame(papers).rename(columns={"categories": "all_categories"}).to_csv(path, index=False)
    return path


@pytest.fixture(autouse=True)
def few_papers_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "FEWEST", 1)


def gathered(
    tmp_path: Path,
    texts: list[Path],
    leave_out: list[Path] | None = None,
    **settings: Any,
) -> tuple[PaperArrays, dict[str, Any]]:
    values = CorpusSettings(**{**vars(SETTINGS), **settings})
    summary = gather(texts, leave_out or [], values, tmp_path / "papers")
    arrays = load_arrays(tmp_path / "papers")
    assert arrays.summary == summary
    kept = sum(source["kept"] for source in summary["sources"].values())
    left_out = sum(sum(source["left_out"].values()) for source in summary["sources"].values())
    read = sum(source["papers"] for source in summary["sources"].values())
    assert (kept, kept + left_out) == (len(arrays), read), "nothing is dropped without a count"
    return arrays, summary


def texts_of(arrays: PaperArrays, row: int) -> list[list[str]]:
    start, (title, abstract) = arrays.starts[row], arrays.lengths[row]
    words = [arrays.words[number] for number in arrays.tokens[start : start + title + abstract]]
    return [words[:title], words[title:]]


def test_papers_of_two_files_stand_in_the_corpus_once(tmp_path: Path) -> None:
    first = dump(tmp_path / "a.json.xz", [paper(1), paper(2), paper(2)])
    second = dump(
        tmp_path / "b.json.gz",
        [paper(2, "cs.LG cs.AI"), paper(3, title="TITLE -- 1", abstract="we study Abstract 1"),
         paper(4, "cs.AI")],
    )  # fmt: skip
    arrays, summary = gathered(tmp_path, [first, second])
    assert arrays.ids == ["2501.00001", "2501.00002", "2501.00004"]
    assert [source["left_out"] for source in summary["sources"].values()] == [
        {"repeated id": 1},
        {"repeated id": 1, "repeated text": 1},
    ]
    assert arrays.classes == ["cs.AI", "cs.LG"]
    # a repeated paper has the categories of all files
    assert arrays.multi_hot(np.arange(3)).tolist() == [[False, True], [True, True], [True, False]]
    assert summary["classes"] == {"cs.AI": 2, "cs.LG": 2}
    assert summary["months"] == {"2025-01": 3}


def test_tokens_are_those_of_the_texts_cut_and_never_none(tmp_path: Path) -> None:
    long = paper(2, title="One two three four five", abstract="a b c d e f g h")
    other = paper(3, title="???", abstract="Привет мир")
    arrays, _ = gathered(tmp_path, [dump(tmp_path / "a.json", [paper(1), long, other])])
    assert texts_of(arrays, 0) == [tokenize("Title 1"), tokenize("We study abstract 1.")]
    assert texts_of(arrays, 1) == [["one", "two", "three", "four"], list("abcdef")]
    assert texts_of(arrays, 2) == [["<UNK>"], ["<UNK>"]], "as Vocabulary.encode"
    assert arrays.tokens.dtype == np.uint16
    assert isinstance(arrays.tokens.base, np.memmap), "mapped, not read"


def test_rare_words_are_unknown_and_the_most_frequent_come_first(tmp_path: Path) -> None:
    rows = [paper(1, title="x x y", abstract="x y z"), paper(2, title="w", abstract="x v v")]
    arrays, summary = gathered(tmp_path, [dump(tmp_path / "a.json", rows)], min_freq=2)
    assert arrays.words == ["<PAD>", "<UNK>", "x", "v", "y"]
    assert texts_of(arrays, 1) == [["<UNK>"], ["x", "v", "v"]]
    assert summary["distinct_words"] == 5
    fewer, _ = gathered(tmp_path, [tmp_path / "a.json"], min_freq=2, vocabulary=1)
    assert fewer.words == ["<PAD>", "<UNK>", "x"]


def test_tokens_of_large_vocabularies_have_32_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "AT_ONCE", 1000)  # several parts
    rows = [
        paper(n, title=f"t{n}", abstract=" ".join(f"w{n * 700 + i}" for i in range(700)))
        for n in range(1, 96)
    ]
    path = dump(tmp_path / "a.json", rows)
    many, _ = gathered(tmp_path, [path], vocabulary=70_000, abstract_length=700)
    assert len(many.words) > 1 << 16
    assert many.tokens.dtype == np.int32
    few, _ = gathered(tmp_path, [path], vocabulary=65_534, abstract_length=700)
    assert (len(few.words), few.tokens.dtype) == (1 << 16, np.uint16)
    for arrays in (many, few):
        words = texts_of(arrays, 94)[1]
        known, vocabulary = [w for w in words if w != "<UNK>"], set(arrays.words)
        assert known == [w for w in tokenize(rows[94]["abstract"]) if w in vocabulary]
        assert len(words) == 700


def test_ids_that_lost_a_zero_are_the_same_papers(tmp_path: Path) -> None:
    first = dump(tmp_path / "a.json", [paper(10), {**paper(20), "id": "2501.0002"}])
    second = dump(tmp_path / "b.json", [{**paper(10), "id": "2501.0001"}, paper(20), paper(3)])
    arrays, summary = gathered(tmp_path, [first, second])
    assert arrays.ids == ["2501.00010", "2501.00020", "2501.00003"]
    assert [source["repaired"] for source in summary["sources"].values()] == [1, 1]
    out = csv(tmp_path / "out.csv", [{"id": "2501.0001"}, {"id": "arXiv:2501.00020v2"}])
    arrays, _ = gathered(tmp_path, [first, second], [out])
    assert arrays.ids == ["2501.00003"]


def test_papers_to_leave_out_are_known_by_id_and_by_text(tmp_path: Path) -> None:
    texts = dump(tmp_path / "a.json", [paper(n) for n in range(1, 8)])
    ids = csv(tmp_path / "ids.csv", [{"id": "2501.00001"}, {"id": "2501.99999"}])
    renamed = csv(tmp_path / "other.csv", [{**paper(2), "id": "mine-2"}, {**paper(3), "id": ""}])
    whole = dump(tmp_path / "c.json.gz", [paper(4), {**paper(5), "id": "2412.00005"}])
    arrays, summary = gathered(tmp_path, [texts], [ids, renamed, whole])
    assert arrays.ids == ["2501.00006", "2501.00007"]
    assert summary["sources"]["a.json"]["left_out"] == {
        "id in leave_out": 2, "text in leave_out": 3
    }  # fmt: skip
    assert {name: read["papers"] for name, read in summary["leave_out"].items()} == {
        "ids.csv": 2, "other.csv": 2, "c.json.gz": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("until", "ids", "reasons"),
    [
        (None, ["2501.00001", "2502.00002", "mine", "dated"], {}),
        ("2025-02", ["2501.00001", "2502.00002"], {"after until": 1, "unknown month": 1}),
        ("2025-01", ["2501.00001"], {"after until": 2, "unknown month": 1}),
        ("2025-03", ["2501.00001", "2502.00002", "dated"], {"unknown month": 1}),
    ],
)
def test_papers_after_a_month_are_left_out(
    tmp_path: Path, until: str | None, ids: list[str], reasons: dict[str, int]
) -> None:
    rows = [
        paper(1, published="2025-06-01"),  # a later version: the id says when it was submitted
        paper(2, id="2502.00002", published=""),
        paper(3, id="mine", published=""),
        paper(4, id="dated", published="2025-03-31"),
    ]
    arrays, summary = gathered(tmp_path, [csv(tmp_path / "a.csv", rows)], until=until)
    assert arrays.ids == ids
    assert summary["sources"]["a.csv"]["left_out"] == reasons


def test_rare_categories_are_no_labels_and_aliases_are_replaced(tmp_path: Path) -> None:
    listed = ["cs.NA cs.LG", "math.NA", "stat.TH", "q-bio.BM", "cs.LG"]
    rows = [paper(n, names) for n, names in enumerate(listed, 1)]
    arrays, summary = gathered(tmp_path, [dump(tmp_path / "a.json", rows)])
    assert arrays.classes == ["cs.LG", "math.NA"]
    assert summary["rare_categories"] == {"math.ST": 1, "q-bio.BM": 1}
    assert arrays.label_counts.tolist() == [2, 1, 0, 0, 1]
    assert summary["without_label"] == 2
    assert arrays.multi_hot(np.array([3, 1, 0])).tolist() == [
        [False, False], [False, True], [True, True]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "categories", "unknown"),
    [
        ({"category": "cs.AI"}, {"cs.AI"}, 0),
        ({"primary_category": "cs.LG", "all_categories": "cs.LG;cs.NA;x"}, {"cs.LG", "math.NA"}, 1),
        ({"category": "cs.AI", "all_categories": "['cs.CL', 'cs.CV']"},
         {"cs.AI", "cs.CL", "cs.CV"}, 0),
        ({}, set(), 0),
    ],
)  # fmt: skip
def test_categories_of_a_csv_may_stand_in_any_column(
    tmp_path: Path, columns: dict[str, str], categories: set[str], unknown: int
) -> None:
    row = {name: value for name, value in paper(1).items() if name != "categories"}
    pd.DataFrame([{**row, **columns}]).to_csv(tmp_path / "a.csv", index=False)
    read = Read()
    (found,) = papers_in(tmp_path / "a.csv", option="texts", read=read)
    assert set(found.categories) == categories
    assert read.unknown == unknown


def test_papers_without_text_or_category_are_counted(tmp_path: Path) -> None:
    rows = [paper(1), paper(2, title="n/a"), paper(3, abstract=" "), paper(4, "")]
    arrays, summary = gathered(tmp_path, [dump(tmp_path / "a.json", rows)])
    assert arrays.ids == ["2501.00001"]
    counts = {"no title or abstract": 2, "no category": 1}
    assert summary["sources"]["a.json"]["left_out"] == counts
    arrays, summary = gathered(tmp_path, [csv(tmp_path / "a.csv", rows)])
    assert arrays.ids == ["2501.00001", "2501.00004"], "a CSV may have no categories"
    assert summary["sources"]["a.csv"]["left_out"] == {"no title or abstract": 2}


def test_files_of_one_name_are_counted_apart(tmp_path: Path) -> None:
    paths = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        paths.append(dump(tmp_path / str(number) / "a.json", [paper(number)]))
    _, summary = gathered(tmp_path, paths)
    assert list(summary["sources"]) == ["a.json", "a.json (2)"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.json", None, r"none\.json: no such file \(texts\)"),
        ("a.json", b"", "is empty"),
        ("a.json", b'{"id": 1}\n', "line 1: "),
        ("a.json.xz", lzma.compress(b"x" * 5000)[:-30], "truncated or damaged"),
        ("a.csv", b"id,title\n1,2\n", "no column abstract"),
        ("a.csv", b"id,title,abstract\n1,2\n", "2 fields, the header has 3"),
        ("a.csv", b"id,title,abstract\n", "0 papers to learn from, need 1"),
    ],
)
def test_unusable_files_are_named_and_the_corpus_stays(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    good = dump(tmp_path / "good.json", [paper(1)])
    gathered(tmp_path, [good])
    before = {p.name: p.read_bytes() for p in (tmp_path / "papers").iterdir()}
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        gather([tmp_path / name], [], SETTINGS, tmp_path / "papers")
    assert {p.name: p.read_bytes() for p in (tmp_path / "papers").iterdir()} == before
    if "papers to learn" not in message and "abstract" not in message:
        with pytest.raises(UserError, match=message.replace("texts", "leave_out")):
            gather([good], [tmp_path / name], SETTINGS, tmp_path / "papers")


@pytest.mark.parametrize("name", [*paper_arrays.FILES, paper_arrays.SUMMARY])
def test_damaged_and_missing_files_are_refused(tmp_path: Path, name: str) -> None:
    gathered(tmp_path, [dump(tmp_path / "a.json", [paper(n) for n in range(1, 5)])])
    path = tmp_path / "papers" / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[-2] ^= 1
    for damaged in (bytes(changed), content[:-1], b"", None):
        path.write_bytes(damaged) if damaged is not None else path.unlink()
        with pytest.raises(UserError, match=r"papers"):
            load_arrays(tmp_path / "papers")
    path.write_bytes(content)
    assert len(load_arrays(tmp_path / "papers")) == 4


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    rows = [paper(n, "cs.LG cs.AI" if n % 2 else "cs.CL") for n in range(1, 30)]
    path = dump(tmp_path / "a.json", rows)
    for folder in ("one", "two"):
        gather([path], [], SETTINGS, tmp_path / folder)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
