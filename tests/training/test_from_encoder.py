"""Training v6 from an encoder: what it takes, how its head starts, what may be the best epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, SEVERAL, merged
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.models import PooledCNN, registry
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import from_encoder, progress
from arxiv_hybrid.training.classifier import Classification, curves, report, train_classifier
from arxiv_hybrid.training.distributed import Group
from arxiv_hybrid.training.from_encoder import features_of, fit_head, load_encoder
from arxiv_hybrid.training.losses import make_loss
from arxiv_hybrid.training.trainer import BestWeights, Epoch, History

CPU = DeviceConfig(torch.device("cpu"), "fp32")
WIDTHS = {"embed_dim": 12, "num_filters": 8, "hidden": 64}


def v6(vocabulary: Vocabulary, **changes: Any) -> PooledCNN:
    """An untrained model; its head knows nothing of the classes."""
    arguments = {"vocab_size": len(vocabulary), "num_classes": 3, **WIDTHS, **changes}
    model = registry.build("v6", **arguments)
    assert isinstance(model, PooledCNN)
    model.head.weight.data.zero_()
    return model


@pytest.fixture(scope="module")
def encoder(vocabulary: Vocabulary) -> Pretrained:
    """An untrained encoder of 7 classes, whose weights differ from any that a run starts with."""
    torch.manual_seed(5)
    model = v6(vocabulary, num_classes=7)
    model.head.reset_parameters()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return Pretrained(vocabulary, weights, WIDTHS, frozenset({"2501.00001"}), Origin())


def run_params(content: dict[str, Any], **changes: Any) -> Params:
    widths = dict.fromkeys(content["architecture"], "auto")
    changed = merged(content, {"pretrained": "folder", "epochs": 2, **changes})
    return parse({**changed, "architecture": widths}, "params")


def train(
    params: Params,
    encoder: Pretrained,
    splits: dict[str, pd.DataFrame],
    label_set: LabelSet,
    **options: Any,
) -> tuple[Classifier, History]:
    return train_classifier(
        params, splits["train"], splits["val"], encoder.vocabulary, encoder.embeddings, label_set,
        pretrained=encoder, **options,
    )  # fmt: skip


def encode(papers: pd.DataFrame, vocabulary: Vocabulary) -> EncodedPapers:
    return encode_papers(papers, vocabulary, title_length=12, abstract_length=40, device=CPU.device)


def test_of_unknown_classes_all_weights_but_the_heads_are_taken(
    encoder: Pretrained, vocabulary: Vocabulary
) -> None:
    model = v6(vocabulary)
    load_encoder(model, encoder, CLASSES)
    for name, value in model.state_dict().items():
        expected = torch.tensor(encoder.weights[name])
        if name.startswith("head."):
            expected = torch.zeros_like(value)
        assert torch.equal(value, expected), name


def test_a_class_starts_from_what_the_encoder_knows_of_its_categories(
    encoder: Pretrained, vocabulary: Vocabulary
) -> None:
    learned = replace(encoder, classes=("cs.CL", "cs.AI", "hep-th", "cs.LG", "math.AG", "x", "y"))
    categories = {
        "cs.AI": ("cs.AI",), "both": ("cs.AI", "cs.LG", "cs.NE"), "new": ("cs.NE",)
    }  # fmt: skip
    model = v6(vocabulary, num_classes=4)
    load_encoder(model, learned, LabelSet((*categories, "cs.CL"), False, categories))
    for part in ("weight", "bias"):
        rows = torch.tensor(encoder.weights[f"head.{part}"])
        zeros = torch.zeros_like(rows[0])  # also a user's class that is only called cs.CL
        expected = torch.stack([rows[1], (rows[1] + rows[3]) / 2, zeros, zeros])
        torch.testing.assert_close(model.state_dict()[f"head.{part}"], expected)


@pytest.mark.parametrize("useful", [True, False])
def test_the_fit_starts_from_known_classes_if_that_is_better(
    vocabulary: Vocabulary, splits: dict[str, pd.DataFrame], *, useful: bool
) -> None:
    torch.manual_seed(0)
    model, plain = v6(vocabulary), make_loss("cross_entropy", None, 0.0)
    everything, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    few = everything.take(np.arange(6))
    losses = []
    for knows in (False, True):
        model.head.weight.data.zero_()
        if knows:
            fit_head(model, everything, val, plain, CPU, seed=0)
            if not useful:
                model.head.weight.data.mul_(-100)
        fit_head(model, few, val, plain, CPU, seed=0)
        losses.append(objective(model, features_of(model, val, CPU), val.labels))
    assert losses[1] < losses[0] - 0.05 if useful else losses[1] == pytest.approx(losses[0])


@pytest.mark.parametrize("width", ["num_filters", "hidden", "embed_dim"])
def test_other_widths_are_refused(encoder: Pretrained, vocabulary: Vocabulary, width: str) -> None:
    model = v6(vocabulary, **{width: 2 * WIDTHS[width]})
    with pytest.raises(UserError, match=r"pretrained: its weights do not fit v6: .*size mismatch"):
        load_encoder(model, encoder, CLASSES)


@pytest.mark.parametrize("name", ["title_projection.bias", "score.weight"])
def test_a_missing_weight_is_named(encoder: Pretrained, vocabulary: Vocabulary, name: str) -> None:
    weights = {n: value for n, value in encoder.weights.items() if n != name}
    with pytest.raises(UserError, match=f"do not fit v6: {name}"):
        load_encoder(v6(vocabulary), replace(encoder, weights=weights), CLASSES)


@pytest.mark.parametrize("name", ["v1", "v5", "baseline"])
def test_other_models_cannot_start_from_it(
    encoder: Pretrained, vocabulary: Vocabulary, name: str
) -> None:
    model = registry.build(name, vocab_size=len(vocabulary), embed_dim=12)
    with pytest.raises(UserError, match="only model v6 can start from"):
        load_encoder(model, encoder, CLASSES)


def test_features_are_the_heads_input_in_the_order_of_the_papers(
    vocabulary: Vocabulary, splits: dict[str, pd.DataFrame]
) -> None:
    model, papers = v6(vocabulary), encode(splits["val"], vocabulary)
    features = features_of(model, papers, CPU)
    with torch.no_grad():
        logits, _ = papers.batch(np.arange(len(papers))).feed(model.eval())
    torch.testing.assert_close(model.head(features).detach(), logits, rtol=1e-4, atol=1e-5)


def objective(model: PooledCNN, features: Tensor, labels: Tensor) -> float:
    return make_loss("cross_entropy", None, 0.0)(model.head(features), labels).item()


@pytest.mark.parametrize("penalty", [1e-2, 1e-3])
def test_the_head_is_the_logistic_regression_of_scikit_learn(
    vocabulary: Vocabulary,
    splits: dict[str, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    penalty: float,
) -> None:
    torch.manual_seed(0)
    model = v6(vocabulary)
    papers, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    monkeypatch.setattr(from_encoder, "PENALTIES", (penalty,))
    monkeypatch.setattr(from_encoder, "MAX_STEPS", 500)
    fit_head(model, papers, val, make_loss("cross_entropy", None, 0.0), CPU, seed=0)
    features = features_of(model, papers, CPU)
    scaled = ((features - features.mean(0)) / features.std(0)).numpy()
    plain = LogisticRegression(C=1 / (penalty * len(papers)), tol=1e-6, max_iter=2000)
    expected = plain.fit(scaled, papers.labels.numpy()).predict_proba(scaled)
    actual = model.head(features).softmax(1).detach().numpy()
    np.testing.assert_allclose(actual, expected, atol=0.01)


def test_the_strength_is_chosen_on_validation_papers(
    vocabulary: Vocabulary, splits: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = v6(vocabulary)
    papers, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    losses = {}
    for penalties in ((1.0,), (1e-2,), (1e-7,), (1.0, 1e-2, 1e-7)):
        monkeypatch.setattr(from_encoder, "PENALTIES", penalties)
        fit_head(model, papers, val, make_loss("cross_entropy", None, 0.0), CPU, seed=0)
        losses[penalties] = objective(model, features_of(model, val, CPU), val.labels)
    *single, chosen = losses.values()
    assert chosen == pytest.approx(min(single), abs=0.02)
    assert max(single) > min(single) + 0.05, "the choice matters"


def test_of_many_papers_a_part_is_used(
    vocabulary: Vocabulary, splits: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    papers, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    sizes: list[int] = []

    def recorded(model: PooledCNN, part: EncodedPapers, config: DeviceConfig) -> Tensor:
        sizes.append(len(part))
        return features_of(model, part, config)

    monkeypatch.setattr(from_encoder, "features_of", recorded)
    monkeypatch.setattr(from_encoder, "MAX_PAPERS", 50)
    fit_head(v6(vocabulary), papers, val, make_loss("cross_entropy", None, 0.0), CPU, seed=0)
    assert sizes == [50, len(val)]


@pytest.mark.parametrize(("accuracies", "best"), [([0.9, 0.5, 0.8], 0), ([0.5, 0.6, 0.9], 2)])
def test_the_fitted_start_is_epoch_0_and_wins_if_training_only_harms(
    encoder: Pretrained,
    splits: dict[str, pd.DataFrame],
    tiny_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    accuracies: list[float],
    best: int,
) -> None:
    validate, left = Classification.validate, list(accuracies)
    monkeypatch.setattr(from_encoder, "PENALTIES", (0.03,))  # untrained features suggest more

    def validated(self: Classification, papers: EncodedPapers, group: Group) -> tuple[float, float]:
        loss, accuracy = validate(self, papers, group)
        return loss, left.pop(0) if len(papers) == len(splits["val"]) else accuracy

    monkeypatch.setattr(Classification, "validate", validated)
    classifier, history = train(run_params(tiny_content), encoder, splits, CLASSES)
    assert [epoch.epoch for epoch in history.epochs] == [0, 1, 2]
    assert history.trained == 2
    assert history.epochs[0].train_accuracy > 0.5, "three classes of equal size"
    assert np.isfinite(curves(history).to_numpy(float)).all()
    assert classifier.config.arguments["hidden"] == WIDTHS["hidden"]
    assert report(classifier, history)["best_epoch"] == best
    same = {
        np.array_equal(value.numpy(), encoder.weights[name])
        for name, value in classifier.model.state_dict().items()
        if not name.startswith("head.")
    }
    assert same == ({True} if best == 0 else {True, False}), "projections never learn here"


def test_fine_tuning_changes_the_encoder_but_not_its_projections(
    encoder: Pretrained,
    splits: dict[str, pd.DataFrame],
    tiny_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BestWeights, "restore", lambda _: None)  # keep the last epoch
    params = run_params(tiny_content, learning_rate=0.01)
    classifier, _ = train(params, encoder, splits, CLASSES)
    for name, value in classifier.model.state_dict().items():
        if name.startswith("head."):
            continue
        is_same = np.array_equal(value.numpy(), encoder.weights[name])
        assert is_same == name.endswith(("projection.weight", "projection.bias")), name


def test_several_labels_start_from_one_regression_per_class(
    encoder: Pretrained, several_splits: dict[str, pd.DataFrame], several_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(from_encoder, "PENALTIES", (0.03,))  # untrained features suggest more
    params = run_params(several_content, learning_rate=1e-9, epochs=1)
    classifier, history = train(params, encoder, several_splits, SEVERAL)
    assert history.epochs[0].train_accuracy > 0.6
    assert classifier.probabilities(several_splits["val"]).shape[1] == len(SEVERAL)


def test_other_models_take_its_words_and_vectors(
    encoder: Pretrained, splits: dict[str, pd.DataFrame], tiny_content: dict[str, Any]
) -> None:
    changes = {"model": "v1", "pretrained": "folder", "epochs": 1, "learning_rate": 1e-9}
    params = parse(merged(tiny_content, changes), "params")
    classifier, history = train(params, encoder, splits, CLASSES)
    assert [epoch.epoch for epoch in history.epochs] == [1]
    np.testing.assert_allclose(
        classifier.model.embedding.weight.detach().numpy(), encoder.embeddings, atol=1e-5
    )


def test_words_of_another_encoder_are_refused(
    encoder: Pretrained, splits: dict[str, pd.DataFrame], tiny_content: dict[str, Any]
) -> None:
    other = Vocabulary((*encoder.vocabulary.words[:-1], "another"))
    with pytest.raises(UserError, match=r"its vocabulary differs from data/processed/vocab\.txt"):
        train_classifier(
            run_params(tiny_content), splits["train"], splits["val"], other, None, CLASSES,
            pretrained=encoder,
        )  # fmt: skip


def test_embeddings_cannot_be_random_and_pretrained(tiny_content: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="embeddings: random contradicts pretrained for v6"):
        run_params(tiny_content, model="v6", embeddings="random")


@pytest.mark.parametrize("until", [0, 1])
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    encoder: Pretrained,
    splits: dict[str, pd.DataFrame],
    tiny_content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: int,
) -> None:
    monkeypatch.setattr(progress, "ALLOWANCE", 1e9)  # every epoch is saved
    params = run_params(tiny_content, learning_rate=0.01)

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == until:
            raise KeyboardInterrupt

    undisturbed, history = train(params, encoder, splits, CLASSES)
    with pytest.raises(KeyboardInterrupt):
        train(params, encoder, splits, CLASSES, on_epoch=kill, resume=tmp_path)
    torch.manual_seed(5)  # whatever the new process draws before
    resumed, again = train(params, encoder, splits, CLASSES, resume=tmp_path)
    assert [epoch.epoch for epoch in again.epochs] == [0, 1, 2]
    assert again.best == history.best
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, undisturbed.model.state_dict()[name]), name
