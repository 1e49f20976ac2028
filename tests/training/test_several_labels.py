"""Training with several labels per paper, for every model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, SEVERAL, merged, with_model

from arxiv_hybrid.data.label_set import multi_hot
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import (
    curves,
    fitted_config,
    report,
    start_at_shares,
    train_classifier,
)
from arxiv_hybrid.training.trainer import print_epoch

Splits = dict[str, pd.DataFrame]
LEARNS: dict[str, Any] = {
    "epochs": 12, "patience": 12, "batch_size": 16, "dropout": 0.0, "word_dropout": 0.0, "mixup": 0,
    "accumulate": 1, "learning_rate": 0.01, "scheduler": "onecycle", "optimizer": "adamw",
    "embeddings": "random",
    "glove": {"learning_rate_scale": 1}, "precision": "fp32",
}  # fmt: skip


def train(content: dict[str, Any], splits: Splits, vocabulary: Vocabulary):
    params = parse(content, "params")
    return train_classifier(params, splits["train"], splits["val"], vocabulary, None, SEVERAL)


@pytest.mark.parametrize("model", sorted(registry.MODELS))
def test_every_model_learns_several_labels(
    model: str, several_content: dict[str, Any], several_splits: Splits, vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:  # fmt: skip
    content = with_model(several_content, model, **LEARNS)
    classifier, history = train(content, several_splits, vocabulary)
    train_papers = several_splits["train"]
    targets = multi_hot(train_papers["labels"], len(SEVERAL))
    assert targets.sum(1).max() > 1, "the premise: some papers list several"
    probabilities = classifier.probabilities(train_papers).numpy()
    likeliest = targets[np.arange(len(targets)), probabilities.argmax(1)].mean()
    commonest = targets.mean(0).max()
    assert likeliest > commonest + 0.15
    assert history.best_epoch.metrics["train_precision_at_1"] > commonest + 0.05
    assert (probabilities.sum(1) > 1.05).any(), "each class has a probability by itself"
    config = classifier.config
    assert config.multi_label
    assert len(config.thresholds) == len(config.biases) == len(SEVERAL)
    classifier.save(tmp_path)
    loaded = checkpoint.load(tmp_path, precision="fp32")  # as it was trained
    table = loaded.classify(several_splits["test"])
    assert table["categories"].str.split(";").str[0].tolist() == table["category"].tolist()
    pd.testing.assert_frame_equal(table, classifier.classify(several_splits["test"]))


def test_probabilities_are_calibrated_on_validation_papers(
    several_content: dict[str, Any], several_splits: Splits, vocabulary: Vocabulary
) -> None:
    classifier, _ = train(merged(several_content, LEARNS), several_splits, vocabulary)
    val = several_splits["val"]
    targets = multi_hot(val["labels"], len(SEVERAL))
    probabilities = classifier.probabilities(val).numpy()
    assert probabilities.mean() == pytest.approx(targets.mean(), abs=0.02)


def test_the_epochs_score_is_precision_at_1(
    several_content: dict[str, Any], several_splits: Splits, vocabulary: Vocabulary,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    classifier, history = train(several_content, several_splits, vocabulary)
    best = history.best_epoch
    print_epoch(best)
    assert f"val precision@1 {best.val_accuracy:.4f}" in capsys.readouterr().err
    assert history.summary.startswith(f"best epoch {best.epoch}, val precision@1 ")
    table, content = curves(history), report(classifier, history)
    assert {"train_precision_at_1", "val_precision_at_1"} <= content.keys()
    assert table["val_accuracy"][best.epoch - 1] == best.val_accuracy, "plots name the columns"
    assert not [name for name in content if "accuracy" in name]
    assert content["val_precision_at_1"] == best.val_accuracy


def test_one_label_per_paper_keeps_its_names(
    tiny_content: dict[str, Any], splits: Splits, vocabulary: Vocabulary
) -> None:
    params = parse(tiny_content, "params")
    classifier, history = train_classifier(
        params, splits["train"], splits["val"], vocabulary, None, CLASSES
    )
    assert curves(history).columns.tolist() == [
        "epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate",
    ]  # fmt: skip
    assert {"train_accuracy", "val_accuracy"} <= report(classifier, history).keys()
    assert classifier.config.thresholds == classifier.config.biases == []
    assert "categories" not in classifier.classify(splits["test"])
    assert classifier.config.titles == {
        "cs.AI-LG": "Artificial Intelligence, Machine Learning",
        "cs.CL": "Computation and Language",
        "cs.CV": "Computer Vision and Pattern Recognition",
    }


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "asymmetric"])
def test_every_loss_trains(
    loss: str, several_content: dict[str, Any], several_splits: Splits, vocabulary: Vocabulary
) -> None:
    changes = {**LEARNS, "loss": loss, "class_weights": "balanced", "mixup": 0.3,
               "label_smoothing": 0.05, "accumulate": 2, "epochs": 6}  # fmt: skip
    _, history = train(merged(several_content, changes), several_splits, vocabulary)
    losses = [epoch.train_loss for epoch in history.epochs]
    assert losses[-1] < 0.95 * losses[0]


def test_an_untrained_model_predicts_the_shares_of_the_classes() -> None:
    torch.manual_seed(0)
    model = registry.build("v1", vocab_size=9, embed_dim=8, num_filters=4, lstm_hidden=4)
    labels = torch.zeros(98, 3, dtype=torch.bool)
    labels[:49, 0] = labels[:9, 1] = True
    start_at_shares(model, labels)
    ids = torch.tensor([[2, 3, 4]])
    torch.nn.init.zeros_(model.head[-1].weight)
    shares = torch.sigmoid(model(ids, ids)[0])
    torch.testing.assert_close(shares, torch.tensor([[0.5, 0.1, 0.01]]))


def test_the_weight_of_a_class_in_the_loss_is_taken_back() -> None:
    """Logits that a weight of 5 has raised by log 5 are calibrated again."""
    torch.manual_seed(0)
    true = torch.randn(20_000, 2) - 1
    labels = torch.rand(true.shape) < torch.sigmoid(true)
    weights = torch.tensor([5.0, 1.0])
    config = checkpoint.ModelConfig("v1", {}, ["a", "b"], 9, 9, multi_label=True)
    fitted = fitted_config(config, true + weights.log(), labels, weights, "per_class")
    assert fitted.temperature == pytest.approx(1, abs=0.05)
    assert fitted.biases == pytest.approx([-np.log(5), 0], abs=0.1)
