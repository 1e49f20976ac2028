"""Pre-training: the objective, what the encoder learns, and what is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.model_config import CONFIG, PAPERS, WEIGHTS, WORDS
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.pretraining import (
    CLASSIFIER_ONLY,
    PretrainEpoch,
    Settings,
    info_nce,
    pretrain,
    save_pretrained,
)

CPU = DeviceConfig(torch.device("cpu"), "fp32")
SIZES = {"num_filters": 8, "lstm_hidden": 6}
FAST = Settings(epochs=25, batch_size=32, learning_rate=0.02, word_dropout=0.0)


@pytest.fixture(scope="module")
def encoded(splits: dict[str, pd.DataFrame], vocabulary: Vocabulary) -> EncodedPapers:
    return encode_papers(
        splits["train"], vocabulary, title_length=12, abstract_length=60, device=CPU.device
    )


def make(vocabulary: Vocabulary) -> PairedCNNLSTM:
    torch.manual_seed(0)
    return PairedCNNLSTM(len(vocabulary), 12, dropout=0.1, **SIZES)


def learned(
    vocabulary: Vocabulary, encoded: EncodedPapers, settings: Settings = FAST
) -> tuple[PairedCNNLSTM, list[PretrainEpoch]]:
    model = make(vocabulary)
    return model, pretrain(model, encoded, settings, CPU)


@pytest.fixture
def folder(vocabulary: Vocabulary, tmp_path: Path) -> Path:
    model = make(vocabulary)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    save_pretrained(tmp_path / "encoder", model, vocabulary, SIZES, ["2501.00001", "2501.00002"])
    return tmp_path / "encoder"


def test_the_loss_is_smallest_if_each_title_matches_its_abstract() -> None:
    titles = torch.eye(4)
    loss, in_batch_accuracy = info_nce(titles, titles, 0.1)
    assert loss.item() == pytest.approx(np.log(1 + 3 * np.exp(-10)), rel=1e-3)
    assert in_batch_accuracy.item() == 1
    crossed, none = info_nce(titles, titles.roll(1, 0), 0.1)
    assert none.item() == 0
    assert crossed.item() == pytest.approx(10, rel=1e-3)
    alike, _ = info_nce(torch.ones(4, 1), torch.ones(4, 1), 0.1)
    assert alike.item() == pytest.approx(np.log(4))


def test_both_directions_count() -> None:
    torch.manual_seed(0)
    titles, abstracts = (F.normalize(torch.randn(5, 3), dim=-1) for _ in range(2))
    loss, _ = info_nce(titles, abstracts, 0.5)
    back, _ = info_nce(abstracts, titles, 0.5)
    torch.testing.assert_close(loss, back)


def test_pretraining_improves_in_batch_accuracy_and_loss(
    vocabulary: Vocabulary, encoded: EncodedPapers
) -> None:
    _, history = learned(vocabulary, encoded)
    assert [epoch.epoch for epoch in history] == list(range(1, FAST.epochs + 1))
    assert history[-1].in_batch_accuracy > 4 / 32, "four times the accuracy of guessing"
    assert history[-1].loss < history[0].loss


def test_labels_are_ignored(vocabulary: Vocabulary, encoded: EncodedPapers) -> None:
    short = replace(FAST, epochs=1)
    model, _ = learned(vocabulary, encoded, short)
    other, _ = learned(vocabulary, replace(encoded, labels=encoded.labels.flip(0)), short)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_head_is_not_trained(vocabulary: Vocabulary, encoded: EncodedPapers) -> None:
    before = make(vocabulary).state_dict()
    model, _ = learned(vocabulary, encoded, replace(FAST, epochs=1))
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {name for name in before if not name.startswith(CLASSIFIER_ONLY)}


def test_the_saved_encoder_is_read(folder: Path, vocabulary: Vocabulary) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        (CONFIG, PAPERS, WEIGHTS, WORDS)
    )
    pretrained = load_pretrained(folder)
    assert pretrained.vocabulary == vocabulary
    assert pretrained.arguments == {"embed_dim": 12, **SIZES}
    words, vectors = pretrained.word_vectors()
    assert words == list(vocabulary.words[2:])
    assert np.array_equal(vectors, pretrained.embeddings[2:])


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, WORDS])
def test_a_missing_or_damaged_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not a valid encoder"):
        load_pretrained(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: not found"):
        load_pretrained(folder)


@pytest.mark.parametrize(
    "config",
    [{"model": "v6"}, {"model": "v9", "arguments": SIZES}, {"model": "v6", "arguments": {"a": 1}}],
)
def test_config_of_another_model_is_refused(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match="not a valid encoder"):
        load_pretrained(folder)


def test_an_encoder_trained_on_held_out_papers_is_refused(folder: Path) -> None:
    pretrained = load_pretrained(folder)
    pretrained.check_held_out({"2501.00003"})
    with pytest.raises(
        UserError, match=r"1 validation or test papers, such as 2501.00002; pre-train"
    ):
        pretrained.check_held_out({"2501.00002", "2501.00003"})
