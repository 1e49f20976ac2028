"""EDA: operations, synonyms, variants of training papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.data import table
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.system import files
from arxiv_hybrid.text import augment

TEXT = "We propose a novel method that improves accurate parsing because results remain limited"


@pytest.mark.parametrize("operation", augment._OPERATIONS)
def test_operations_change_the_requested_number_of_words(operation: augment.Operation) -> None:
    words = TEXT.split()
    changed = operation(words, 2, np.random.default_rng(0), augment.thesaurus())
    assert words == TEXT.split()
    assert changed != words
    if operation is augment._delete:
        assert len(changed) == len(words) - 2
    elif operation is augment._swap:
        assert sorted(changed) == sorted(words)
    else:
        assert sum(a != b for a, b in zip(words, changed, strict=True)) == 2


def test_synonyms_come_from_the_thesaurus() -> None:
    thesaurus = augment.thesaurus()
    assert len(thesaurus) > 1000
    assert "novel" in thesaurus["new"]
    assert all(word not in synonyms and synonyms for word, synonyms in thesaurus.items())
    replaced = augment._replace_synonyms(["novel"], 1, np.random.default_rng(0), thesaurus)
    assert replaced[0] in thesaurus["novel"]


def test_neighbours_are_the_nearest_words_above_the_threshold() -> None:
    words = ["king", "queen", "banana", "monarch", "pear"]
    vectors = np.array([[1, 0.1], [1, 0.2], [0.02, 1], [0.9, 0.4], [-1, 0]], dtype=np.float32)
    near = augment.neighbours(words, vectors)
    assert near["king"] == ["queen", "monarch"]
    assert "banana" not in near
    assert "pear" not in near
    text = "the king of the fruit"
    replacements = {
        augment.augment(text, 0.1, np.random.default_rng(seed), near).split()[1]
        for seed in range(40)
    }
    assert {"queen", "monarch"} <= replacements


def with_variants(train: pd.DataFrame | PaperFile, **settings: Any) -> pd.DataFrame:
    return pd.concat(augment.add_variants(train, **settings), ignore_index=True)


def test_extra_synonyms_are_used_beside_the_thesaurus() -> None:
    train = pd.DataFrame({"id": ["a"] * 60, "abstract": ["zyx novel"] * 60, "label": 0})
    augmented = with_variants(
        train, fraction=1.0, alpha=0.5, seed=1, extra_synonyms={"zyx": ["abc"]}
    )
    texts = " ".join(augmented.loc[augmented["augmented"], "abstract"])
    assert "abc" in texts
    assert any(word in texts for word in augment.thesaurus()["novel"])


def test_single_word_is_unchanged() -> None:
    assert augment.augment("word", 0.5, np.random.default_rng(0)) == "word"


def test_variants_follow_the_originals_and_keep_their_labels() -> None:
    train = pd.DataFrame({"id": list("abcdefghij"), "abstract": [TEXT] * 10, "label": range(10)})
    result = with_variants(train, fraction=0.3, alpha=0.1, seed=5)
    assert len(result) == 13
    assert result["augmented"].tolist() == [False] * 10 + [True] * 3
    variants = result[result["augmented"]]
    assert (variants["abstract"] != TEXT).all()
    assert (train.set_index("id")["label"].loc[variants["id"]].to_numpy() == variants.label).all()
    pd.testing.assert_frame_equal(result, with_variants(train, fraction=0.3, alpha=0.1, seed=5))
    assert len(with_variants(train, fraction=0, alpha=0.1, seed=5)) == 10


def test_variants_of_a_file_are_those_of_a_table(tmp_path: Path, monkeypatch: Any) -> None:
    texts = [f"word{n} we show that the model is good for task {n}" for n in range(100)]
    train = pd.DataFrame({"id": map(str, range(100)), "title": "T", "abstract": texts})
    monkeypatch.setattr(files, "ROW_GROUP", 16)
    monkeypatch.setattr(table, "ROW_GROUP", 16)
    files.write_parquet(tmp_path / "train.parquet", train)
    settings = {"fraction": 0.4, "alpha": 0.2, "seed": 3}
    stored = list(augment.add_variants(PaperFile(tmp_path / "train.parquet"), **settings))
    assert len(stored) > 8, "some rows at a time"
    expected = with_variants(train, **settings)
    pd.testing.assert_frame_equal(pd.concat(stored, ignore_index=True), expected)
