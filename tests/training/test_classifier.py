"""From parameters and papers to a classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, CPU, merged, with_model
from torch import nn

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.calibration import fit_temperature
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import train_classifier, trainer_config
from arxiv_hybrid.training.losses import make_loss
from arxiv_hybrid.training.optimizers import (
    ModelOptimizer,
    OptimizerConfig,
)


def run(params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary):
    return train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)


def test_training_is_what_the_parameters_say(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: dict[str, Any] = {"mixed": 0, "unknown": 0, "batches": 0}

    class Watched(ModelOptimizer):
        def __init__(self, model: nn.Module, config: OptimizerConfig, **given: Any) -> None:
            seen.update(given, **asdict(config))
            super().__init__(model, config, **given)

    def watched_loss(name: str, weights: torch.Tensor | None, smoothing: float):
        seen.update(loss=name, weights=weights, smoothing=smoothing)
        return make_loss(name, weights, smoothing)

    forward = registry.MODELS["v1"].forward

    def watched_forward(
        self: nn.Module, titles: torch.Tensor, abstracts: torch.Tensor, **given: Any
    ):
        if self.training:
            seen["batches"] += 1
            seen["mixed"] += bool(self.head._forward_pre_hooks)
            seen["unknown"] += int((abstracts == 1).sum()) - seen["already"] / seen["of"]
        return forward(self, titles, abstracts, **given)

    monkeypatch.setattr("arxiv_hybrid.training.trainer.ModelOptimizer", Watched)
    monkeypatch.setattr("arxiv_hybrid.training.classifier.make_loss", watched_loss)
    monkeypatch.setattr(registry.MODELS["v1"], "forward", watched_forward)
    changes = {
        "mixup": 0.5, "word_dropout": 0.2, "class_weights": {"cs.CL": 3.0}, "accumulate": 2,
        "loss": "focal", "label_smoothing": 0.05, "epochs": 4, "learning_rate": 0.003,
        "weight_decay": 0.02, "optimizer": "adam", "scheduler": "cosine",
        "glove": {"learning_rate_scale": 0.3},
    }  # fmt: skip
    encoded = encode_papers(
        splits["train"], vocabulary, title_length=12, abstract_length=40, device=CPU
    )
    seen["already"], seen["of"] = int((encoded.abstract_ids == 1).sum()), 1
    seen["of"] = -(-len(encoded) // 16)
    run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    assert seen["loss"] == "focal"
    assert seen["weights"].tolist() == [1.0, 3.0, 1.0]
    assert seen["smoothing"] == 0.05
    for name, value in {
        "name": "adam", "learning_rate": 0.003, "embedding_rate_scale": 0.3,
        "weight_decay": 0.02, "scheduler": "cosine", "epochs": 4, "accumulate": 2,
        "batches_per_epoch": seen["of"],
    }.items():  # fmt: skip
        assert seen[name] == value, name
    assert 0 < seen["mixed"] < seen["batches"] == 4 * seen["of"]
    hidden = seen["unknown"] / (4 * int((encoded.abstract_ids > 1).sum()))
    assert hidden == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(("kind", "spread"), [("random", 0.1), ("wide", 1.0), ("pretrained", 0.5)])
def test_initial_word_vectors_follow_the_parameter(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch, kind: str, spread: float,
) -> None:  # fmt: skip
    starts: list[torch.Tensor] = []

    def fit(model: nn.Module, *_: Any, **__: Any) -> None:
        starts.append(model.embedding.weight.detach().clone())

    monkeypatch.setattr("arxiv_hybrid.training.classifier.fit", fit)
    given = np.random.default_rng(0).normal(0, 0.5, (len(vocabulary), 12)).astype(np.float32)
    params = parse(merged(tiny_content, {"embeddings": kind}), "params")
    train_classifier(params, splits["train"], splits["val"], vocabulary, given, CLASSES)
    assert starts[0].std().item() == pytest.approx(spread, rel=0.05)
    if kind == "pretrained":
        assert np.array_equal(starts[0].numpy(), given)


def test_probabilities_are_calibrated_on_validation_papers(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    classifier, _ = run(tiny_params, splits, vocabulary)
    val, test = (
        predict(classifier.model, classifier.encode(splits[name]), classifier.device_config)
        for name in ("val", "test")
    )
    fitted = fit_temperature(val, torch.tensor(splits["val"]["label"].to_numpy()))
    assert classifier.config.temperature == pytest.approx(fitted, abs=1e-4)
    assert abs(fitted - 1) > 0.01, "or the rest would show nothing"
    torch.testing.assert_close(
        classifier.probabilities(splits["test"]), torch.softmax(test.double() / fitted, -1),
        rtol=0, atol=1e-4,
    )  # fmt: skip


def test_v4_receives_the_words_of_the_vocabulary(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    params = parse(merged(tiny_content, {"model": "v4", "epochs": 1}), "params")
    classifier, _ = run(params, splits, vocabulary)
    row = vocabulary.index["the"]
    assert bytes(classifier.model.embedding.spelling[row].tolist()).rstrip(b"\0") == b"the"


def test_training_learns_the_synthetic_corpus(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {
        "epochs": 12, "learning_rate": 0.005, "dropout": 0.1, "glove": {"dim": 32},
        "architecture": {"num_filters": 16, "lstm_hidden": 16},
        "vocab": {"abstract_length": 200},
    }  # fmt: skip
    params = parse(merged(tiny_content, changes), "params")
    _, history = run(params, splits, vocabulary)
    losses = [epoch.train_loss for epoch in history.epochs]
    assert losses[-1] < 0.75 * losses[0]


def test_matrix_products_use_the_requested_precision(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    dtypes = {"fp32": set(), "bf16": set()}
    for precision, seen in dtypes.items():
        changes = {"precision": precision, "epochs": 1}
        params = parse(merged(tiny_content, changes), "params")

        def note_dtype(layer: nn.Module, _: Any, output: Any, seen: Any = seen) -> None:
            if type(layer) is nn.Linear:
                seen.add(output.dtype)

        with nn.modules.module.register_module_forward_hook(note_dtype):
            classifier, history = run(params, splits, vocabulary)
        assert classifier.device_config.precision == precision
        assert np.isfinite(history.best_epoch.train_loss)
        assert next(classifier.model.parameters()).dtype == torch.float32
    assert dtypes == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}


@pytest.mark.parametrize("model", sorted(registry.MODELS))
@pytest.mark.parametrize("recipe", ["ours", "published"])
def test_every_model_trains_with_its_recipe(
    model: str,
    recipe: str,
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:
    params = parse(with_model(tiny_content, model, recipe=recipe, epochs=1), "tiny")
    embeddings = np.zeros((len(vocabulary), params.glove.dim), dtype=np.float32)
    embeddings[2:] = 1.0
    classifier, history = train_classifier(
        params, splits["train"], splits["val"], vocabulary, embeddings, CLASSES
    )
    assert np.isfinite(history.best_epoch.val_loss)
    spread = float(classifier.model.embedding.weight[2:].detach().std())
    expected = {"pretrained": 0.0, "random": 0.1, "wide": 1.0}[params.embeddings]
    assert spread == pytest.approx(expected, abs=0.05)
    checkpoint.save(tmp_path, classifier.model, vocabulary, classifier.config)
    loaded = checkpoint.load(tmp_path)
    torch.testing.assert_close(
        loaded.probabilities(splits["test"]), classifier.probabilities(splits["test"])
    )


def test_few_papers_train_more_epochs_unless_epochs_are_given(
    default_content: dict[str, Any],
) -> None:
    def planned(papers: int, **changes: Any) -> tuple[int, int, int]:
        config = trainer_config(parse(merged(default_content, changes), "params.yaml"), papers)
        return config.batch_size, config.epochs, config.patience

    assert planned(5306) == (64, 6, 7)
    assert planned(1260) == (32, 6, 7)
    assert planned(210) == (16, 12, 14)
    assert planned(100_000) == (64, 6, 7)
    assert planned(210, epochs=6) == (64, 6, 7)
    assert planned(210, recipe="published") == (64, 30, 7)
    assert planned(210, batch_size=64, min_steps=8) == (64, 6, 7)
