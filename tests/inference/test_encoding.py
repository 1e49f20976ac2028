"""Encoded papers and their batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CPU

from arxiv_hybrid.data import table
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.inference import devices, encoding
from arxiv_hybrid.inference.encoding import encode_papers, sorted_batches
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.system import files
from arxiv_hybrid.text.vocabulary import Vocabulary


def test_sorted_batches_go_from_short_to_long() -> None:
    lengths = np.array([5, 1, 3, 2])
    assert [rows.tolist() for rows in sorted_batches(lengths, 3)] == [[1, 3, 2], [0]]


def test_batches_are_trimmed(splits: dict[str, pd.DataFrame], vocabulary: Vocabulary) -> None:
    papers = encode_papers(
        splits["val"], vocabulary, title_length=30, abstract_length=300, device=CPU
    )
    rows = np.argsort(papers.abstract_lengths)[:5]
    batch = papers.batch(rows)
    assert batch.abstract_ids.shape == (5, papers.abstract_lengths[rows].max())
    assert batch.title_ids.shape[1] == papers.title_lengths[rows].max()
    counts = (int((batch.title_ids != 0).sum()), int((batch.abstract_ids != 0).sum()))
    assert batch.token_counts == counts
    assert batch.labels.tolist() == splits["val"]["label"].iloc[rows].tolist()


def test_prediction_keeps_the_papers_order(
    splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    model = registry.build(
        "v1", vocab_size=len(vocabulary), embed_dim=8, num_filters=4, lstm_hidden=4
    )
    papers = encode_papers(
        splits["train"], vocabulary, title_length=9, abstract_length=50, device=CPU
    )
    together = predict(model, papers, devices.DeviceConfig(CPU, "fp32"))
    alone, _ = model(papers.title_ids[7:8], papers.abstract_ids[7:8])
    torch.testing.assert_close(together[7:8], alone, rtol=0, atol=1e-5)


def test_papers_of_a_file_are_encoded_as_those_of_a_table(
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (files, table):
        monkeypatch.setattr(module, "ROW_GROUP", 50)
    train = splits["train"]
    files.write_parquet(tmp_path / "train.parquet", train)
    lengths = {"title_length": 5, "abstract_length": 60, "device": torch.device("cpu")}
    expected = encode_papers(train, vocabulary, **lengths)
    monkeypatch.setattr(encoding, "MOST_IN_MEMORY", 0)
    found = encode_papers(PaperFile(tmp_path / "train.parquet"), vocabulary, **lengths)
    for name in ("title_ids", "abstract_ids", "labels"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("title_lengths", "abstract_lengths"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    rows = np.array([3, 1, 160])
    assert torch.equal(found.batch(rows).abstract_ids, expected.batch(rows).abstract_ids)
