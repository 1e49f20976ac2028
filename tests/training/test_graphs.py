"""Steps as a CUDA graph, without the graph: filler changes nothing, whatever the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, CPU, SEVERAL, with_model

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.models.registry import MODELS
from arxiv_hybrid.params import parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import classifier
from arxiv_hybrid.training.classifier import Classification, trainer_config
from arxiv_hybrid.training.graphs import GraphedSteps
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.training.trainer import Trainer

SIZE = 8  # papers of a batch
FP32 = DeviceConfig(CPU, "fp32")
NO_CHANCE = {"dropout": 0.0, "word_dropout": 0.0, "mixup": 0.0, "batch_size": SIZE}


@pytest.fixture
def encoded(splits: dict[str, pd.DataFrame], vocabulary: Vocabulary) -> EncodedPapers:
    papers = splits["train"].iloc[: 5 * SIZE + 3]
    return encode_papers(papers, vocabulary, title_length=9, abstract_length=40, device=CPU)


def trainer(
    content: dict[str, Any],
    model: str,
    papers: EncodedPapers,
    vocabulary: Vocabulary,
    label_set: LabelSet = CLASSES,
    **changes: Any,
) -> Trainer:
    labels: dict[str, Any] = {}
    if label_set.multi_label:
        labels = {"labels": {"from": "listed", "classes": 4}}
        several = torch.nn.functional.one_hot(papers.labels, len(label_set)).bool()
        papers = replace(papers, labels=several)
    params = parse(with_model(content, model, **{**NO_CHANCE, **labels, **changes}), "params")
    seed_everything(1)
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 12)).astype(np.float32)
    built, _ = classifier._build(params, vocabulary, vectors, label_set, None)
    for module in built.modules():  # attention of titles has its own dropout
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    task = Classification(built, papers.labels, label_set, params, FP32)
    return Trainer(task, papers, trainer_config(params, len(papers)), FP32)


@pytest.mark.parametrize("label_set", [CLASSES, SEVERAL], ids=["one label", "several"])
@pytest.mark.parametrize("model", MODELS)
def test_steps_with_filler_equal_steps_without(
    model: str,
    label_set: LabelSet,
    tiny_content: dict[str, Any],
    encoded: EncodedPapers,
    vocabulary: Vocabulary,
) -> None:
    # not Adam, which would turn rounding errors into steps
    plain, filled = (
        trainer(tiny_content, model, encoded, vocabulary, label_set, optimizer="sgd")
        for _ in range(2)
    )
    batches = [rows for rows in plain._batches() if len(rows) == SIZE]
    graphed = GraphedSteps(filled.task, filled.train, filled.optimizer, batches)
    assert graphed._filler > 0
    for part in (plain, filled):
        part.task.model.train()
    for rows in batches:
        assert graphed.fits(rows)
        expected, result = plain.step(rows), graphed.step(rows)
        torch.testing.assert_close(result.loss, expected.loss, rtol=1e-4, atol=1e-5)
        assert result.correct == expected.correct
    weights = filled.task.model.state_dict()
    for name, value in plain.task.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)


def test_batches_of_another_size_or_with_more_tokens_do_not_fit(
    tiny_content: dict[str, Any], splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    lengths = {"title_length": 9, "abstract_length": 300}
    encoded = encode_papers(splits["train"], vocabulary, **lengths, device=CPU)
    built = trainer(tiny_content, "v1", encoded, vocabulary)
    order = np.argsort(encoded.abstract_lengths)
    shortest, longest = order[:SIZE], order[-SIZE:]
    graphed = GraphedSteps(built.task, encoded, built.optimizer, [shortest])
    assert graphed.fits(shortest)
    assert not graphed.fits(shortest[1:])
    assert not graphed.fits(longest)
    with pytest.raises(ValueError, match="fit"):
        graphed.step(longest)


@pytest.mark.parametrize(
    ("changes", "captured"),
    [
        ({}, True),
        ({"optimizer": "adam"}, True),
        ({"mixup": 0.5}, False),
        ({"accumulate": 2}, False),
        ({"optimizer": "sgd"}, False),
        ({"epochs": 2}, False),
    ],
)
def test_only_many_steps_of_fixed_operations_are_captured(
    changes: dict[str, Any],
    captured: bool,
    tiny_content: dict[str, Any],
    encoded: EncodedPapers,
    vocabulary: Vocabulary,
) -> None:
    built = trainer(tiny_content, "v1", encoded, vocabulary, **{"epochs": 20, **changes})
    assert (built._graphed_steps() is not None) == captured
