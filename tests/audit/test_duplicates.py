"""Near duplicates: exactly the pairs that the definition names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, SEVERAL
from random_papers import PRIMARY, WORDS, random_papers, split_rows

from arxiv_hybrid.audit.drift import by_month, rising_words
from arxiv_hybrid.audit.duplicates import SIMILARITY_THRESHOLD, groups_of_copies, near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data import table
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.params import Labels
from arxiv_hybrid.system import files, number_file

LISTED = Labels.model_validate({"from": "listed", "classes": 4})


def jaccard(first: str, second: str) -> float:
    shingles = []
    for text in (first, second):
        words = re.findall(r"[a-z0-9]+", text.lower())
        shingles.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def text(row: pd.Series) -> str:
    return f"{row['title']} {row['abstract']}"


def similar_pairs(splits: dict[str, pd.DataFrame]) -> dict[tuple[str, str], float]:
    """Similarity of all similar pairs across splits, by comparing every pair."""
    return {
        (a["id"], b["id"]): jaccard(text(a), text(b))
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
        for _, a in splits[first].iterrows()
        for _, b in splits[second].iterrows()
        if jaccard(text(a), text(b)) >= SIMILARITY_THRESHOLD
    }


def test_pairs_match_the_definition() -> None:
    rows = random_papers()
    for offset, edits in enumerate((0, 4, 10, 16, 24, 40)):
        words = rows.loc[offset, "abstract"].split()
        for position in np.linspace(2, 157, edits, dtype=int):
            words[position] = "changed"
        rows.loc[100 + offset, "abstract"] = " ".join(words)
    splits = split_rows(rows)
    pairs = near_duplicates(splits)
    expected = similar_pairs(splits)
    assert 2 <= len(expected) < 6, "some of the edited papers must be too different"
    similarity = dict(
        zip(zip(pairs["first"], pairs["second"], strict=True), pairs["similarity"], strict=True)
    )
    assert similarity == pytest.approx(expected)
    assert pairs["similarity"].is_monotonic_decreasing
    assert (pairs["first_splits"] == "train").all()
    assert (pairs["second_splits"] == "test").all()


@pytest.mark.parametrize("copies", [40, 101])
def test_all_copies_of_a_text_are_found(copies: int) -> None:
    rows = random_papers(count=copies + 20)
    rows.loc[: copies - 1, "abstract"] = rows.loc[0, "abstract"]
    half = copies // 2
    splits = {"train": rows[:half], "val": rows[copies:], "test": rows[half:copies]}
    pairs = near_duplicates(splits)
    assert len(pairs) == half * (copies - half)
    report = audit_report(rows, splits, PRIMARY, CLASSES, ceiling=None, pairs=pairs)
    assert report["leakage"]["train_and_test"]["near_duplicates"] == copies - half


def test_boilerplate_hides_no_pair() -> None:
    rows = random_papers(count=150, words=60)
    rows["abstract"] = " ".join(WORDS[:140]) + " " + rows["abstract"]
    rows.loc[149, "abstract"] = rows.loc[0, "abstract"]
    splits = {"train": rows[:80], "val": rows[80:100], "test": rows[100:]}
    pairs = near_duplicates(splits)
    ids = {frozenset(pair) for pair in zip(pairs["first"], pairs["second"], strict=True)}
    assert ids == {frozenset(pair) for pair in similar_pairs(splits)}
    assert frozenset(("2505.00000", "2505.00149")) in ids


def test_pair_appears_once_with_all_its_splits() -> None:
    rows = random_papers()
    rows.loc[1, "abstract"] = rows.loc[0, "abstract"]
    both = rows[:2]
    splits = {"train": rows, "val": both.assign(label=2), "test": both.assign(label=1)}
    pairs = near_duplicates(splits)
    assert len(pairs) == 1
    assert pairs.loc[0, "first_splits"] == pairs.loc[0, "second_splits"] == "train,val,test"
    assert pairs.loc[0, "same_label"]


def test_same_id_and_common_phrases_make_no_pair() -> None:
    rows = random_papers()
    rows["abstract"] = "in this paper we propose a new method " + rows["abstract"]
    splits = split_rows(rows)
    splits["test"] = pd.concat([splits["test"], splits["train"][:3]], ignore_index=True)
    assert near_duplicates(splits).empty


def test_texts_shorter_than_a_shingle_make_no_pair() -> None:
    rows = random_papers()
    rows["title"], rows["abstract"] = "One", "two three"
    assert near_duplicates(split_rows(rows)).empty


def test_papers_with_several_labels_share_one_if_any_is_the_same() -> None:
    rows = random_papers()
    rows.loc[[100, 101], "abstract"] = rows.loc[0, "abstract"]
    rows["label"], rows["labels"] = 0, [[0]] * len(rows)
    rows.at[100, "labels"], rows.at[101, "labels"] = [1, 2], [0, 1]  # noqa: PD008
    rows.loc[100, "label"] = 1
    pairs = near_duplicates(split_rows(rows), multi_label=True)
    shared = dict(zip(pairs["second"], pairs["same_label"], strict=True))
    assert shared == {"2505.00100": False, "2505.00101": True}


def test_shingles_of_one_text_leave_the_prefix_of_the_filter_as_it_was() -> None:
    """Words of their own are the rarest, so they fill the prefix first."""
    rows = random_papers(count=120, words=40)
    for row in range(100, 120):
        words = rows.loc[row - 100, "abstract"].split()
        words[::13] = [f"only{row}x{number}" for number in range(len(words[::13]))]
        rows.loc[row, "abstract"] = " ".join(words)
    splits = split_rows(rows)
    pairs = near_duplicates(splits)
    found = {frozenset(pair) for pair in zip(pairs["first"], pairs["second"], strict=True)}
    assert found == {frozenset(pair) for pair in similar_pairs(splits)}


@pytest.mark.parametrize("multi_label", [False, True])
def test_files_of_papers_give_what_tables_give(
    multi_label: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit reads files some papers at a time, and sorts few shingles at a time."""
    for module in (files, table):
        monkeypatch.setattr(module, "ROW_GROUP", 7)
    rows = random_papers()
    rows.loc[100:104, "abstract"] = rows.loc[0:4, "abstract"].to_numpy()
    rows.loc[105, "abstract"] = rows.loc[5, "abstract"] + " and two more words"
    label_set = SEVERAL if multi_label else CLASSES
    labels = LISTED if multi_label else PRIMARY
    splits = split_rows(rows)
    stored = {}
    for name, part in {"papers": rows, **splits}.items():
        files.write_parquet(tmp_path / f"{name}.parquet", part)
        stored[name] = PaperFile(tmp_path / f"{name}.parquet")
    papers = stored.pop("papers")

    def audit(papers: Any, parts: Any) -> tuple[Any, ...]:
        pairs = near_duplicates(parts, multi_label=multi_label)
        report = audit_report(papers, parts, labels, label_set, ceiling=None, pairs=pairs)
        return pairs, report, by_month(parts), rising_words(parts["train"], parts["test"]).table

    expected = audit(rows, splits)
    assert len(expected[0]) > 2
    monkeypatch.setattr(number_file, "_SORTED", 1000)
    found = audit(papers, stored)
    assert found[1] == expected[1]
    for place in (0, 2, 3):
        pd.testing.assert_frame_equal(found[place], expected[place])


def test_copies_of_a_paper_are_one_group() -> None:
    rows = random_papers().head(8).reset_index(drop=True)
    words = rows.loc[0, "abstract"].split()
    words[5:8] = ["other", "words", "here"]
    rows.loc[1, "abstract"], rows.loc[1, "title"] = " ".join(words), rows.loc[0, "title"]  # similar
    rows.loc[3, ["title", "abstract"]] = ["Too short!", ""]
    rows.loc[4, ["title", "abstract"]] = ["too", "short"]  # the same words, too few for shingles
    rows.loc[6, "id"] = rows.loc[5, "id"]
    rows.loc[7, ["title", "abstract"]] = rows.loc[6, ["title", "abstract"]].to_numpy()
    groups = groups_of_copies(rows).tolist()
    assert [groups.index(group) for group in groups] == [0, 0, 2, 3, 3, 5, 5, 5]
