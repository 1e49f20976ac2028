"""The loop, its batches, its losses and what it stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import merged
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from arxiv_hybrid.data.labels import CLASSES
from arxiv_hybrid.evaluation.attention import attention_table, explain
from arxiv_hybrid.inference import checkpoint, devices
from arxiv_hybrid.inference.calibration import fit_temperature
from arxiv_hybrid.inference.encoding import encode_papers, sorted_batches
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.tokenize import tokenize, tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import loop
from arxiv_hybrid.training.batches import drop_words, shuffled_batches
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.loop import Epoch, fit
from arxiv_hybrid.training.losses import FOCAL_GAMMA, Mixup, class_weights, make_loss
from arxiv_hybrid.training.optimizers import Optimization, RowAdam, clip_gradients, warmup_cosine
from arxiv_hybrid.training.seed import seed_everything

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vocabulary(splits: dict[str, pd.DataFrame]) -> Vocabulary:
    texts = splits["train"]["title"] + " " + splits["train"]["abstract"]
    return Vocabulary.build(tokenize_all(texts), max_size=5000, min_freq=2)


def test_batches_hold_every_row_once_and_alike_lengths() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(10, 300, 1000)
    batches = shuffled_batches(lengths, 64, random)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    spread = np.mean([np.ptp(lengths[rows]) for rows in batches])
    assert spread < 40
    assert {len(rows) for rows in batches} == {64, 1000 % 64}


def test_no_batch_is_a_single_row() -> None:
    batches = shuffled_batches(np.arange(129), 64, np.random.default_rng(0))
    assert sorted(len(rows) for rows in batches) == [64, 65]


def test_sorted_batches_go_from_short_to_long() -> None:
    lengths = np.array([5, 1, 3, 2])
    assert [rows.tolist() for rows in sorted_batches(lengths, 3)] == [[1, 3, 2], [0]]


def test_batches_are_trimmed(splits: dict[str, pd.DataFrame], vocabulary: Vocabulary) -> None:
    papers = encode_papers(
        splits["val"], vocabulary, title_length=30, abstract_length=300, device=CPU
    )
    rows = np.argsort(papers.abstract_lengths)[:5]
    titles, abstracts, labels = papers.batch(rows)
    assert abstracts.shape == (5, papers.abstract_lengths[rows].max())
    assert titles.shape[1] == papers.title_lengths[rows].max()
    assert labels.tolist() == splits["val"]["label"].iloc[rows].tolist()


def test_dropped_words_become_unknown_and_padding_stays() -> None:
    torch.manual_seed(0)
    ids = torch.full((200, 10), 7)
    ids[:, 5:] = 0
    dropped = drop_words(ids, 0.3)
    assert (dropped[:, 5:] == 0).all()
    assert set(dropped[:, :5].unique().tolist()) == {1, 7}
    assert (dropped[:, :5] == 1).float().mean() == pytest.approx(0.3, abs=0.05)
    assert drop_words(ids, 0.0) is ids


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


def test_class_weights() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    names = ("cs.AI-LG", "cs.CL")
    assert class_weights("none", labels, names) is None
    balanced = class_weights("balanced", labels, names)
    assert balanced is not None
    torch.testing.assert_close(balanced, torch.tensor([4 / 6, 2.0]))
    listed = class_weights([1.0, 3.0], labels, names)
    assert listed is not None
    assert listed.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("spec", "classes", "expected"),
    [
        ({"cs.CL": 2.0, "cs.CV": 1.5}, 3, [1.0, 2.0, 1.5]),
        ({"cs.CL": 2.0, "cs.CV": 1.5}, 4, [1.0, 2.0, 1.5, 1.0]),
        ({"cs.AI-LG": 3.0}, 4, [3.0, 1.0, 1.0, 3.0]),
        ({"cs.AI-LG": 3.0, "cs.AI": 2.0}, 4, [2.0, 1.0, 1.0, 3.0]),
        ({"cs.AI": 2.0}, 3, [1.5, 1.0, 1.0]),
    ],
)
def test_class_weights_by_name(spec: dict[str, float], classes: int, expected: list[float]) -> None:
    weights = class_weights(spec, torch.tensor([0]), CLASSES[classes])
    assert weights is not None
    assert weights.tolist() == expected


def test_mixup_mixes_features_and_labels_alike() -> None:
    random = np.random.default_rng(0)
    mix = Mixup.draw(6, torch.device("cpu"), random)
    fused = torch.arange(12.0).view(6, 2)
    mixed = mix.features(fused)
    row = 2
    other = int(mix.partner[row])
    torch.testing.assert_close(mixed[row], mix.share * fused[row] + (1 - mix.share) * fused[other])
    labels, logits = torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(6, 3)
    soft = mix.share * F.one_hot(labels, 3) + (1 - mix.share) * F.one_hot(labels[mix.partner], 3)
    expected = -(soft * torch.log_softmax(logits, -1)).sum(1).mean()
    torch.testing.assert_close(
        mix.loss(make_loss("cross_entropy", None, 0.0), logits, labels), expected
    )


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    def trained(accumulate: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
        ids, labels = torch.randint(9, (12, 2)), torch.randint(3, (12,))
        optimization = Optimization(
            model,
            optimizer="sgd",  # Adam's first step would not see the size of a gradient
            learning_rate=0.1,
            weight_decay=0.0,
            gradient_clip=1e9,
            scheduler="none",
            epochs=1,
            steps_per_epoch=1,
            patience=1,
            accumulate=accumulate,
        )
        parts = zip(ids.chunk(accumulate), labels.chunk(accumulate), strict=True)
        for part, answers in parts:
            optimization.step(F.cross_entropy(model(part), answers))
        return model[0].weight.detach(), model[2].weight.detach()

    for whole, parts in zip(trained(1), trained(4), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_under_mixup_the_stronger_label_counts_as_right() -> None:
    labels, partner = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    assert Mixup(0.7, partner).stronger(labels).tolist() == [0, 1, 2]
    assert Mixup(0.2, partner).stronger(labels).tolist() == [1, 2, 0]


def test_what_is_left_of_an_epoch_makes_a_step() -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    optimization = Optimization(
        model, optimizer="sgd", learning_rate=1.0, weight_decay=0.0, gradient_clip=1.0,
        scheduler="none", epochs=1, steps_per_epoch=1, patience=1, accumulate=4,
    )  # fmt: skip
    optimization.step(model(torch.ones(1, 2)).sum())
    torch.testing.assert_close(model.weight.detach(), before)
    optimization.step(model(torch.ones(1, 2)).sum(), last=True)
    assert not torch.equal(model.weight.detach(), before)


def test_warmup_then_cosine() -> None:
    rates = [warmup_cosine(10, 100, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001


def test_focal_loss_is_weighted_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    weights = torch.tensor([1.0, 2.0, 0.5])
    p = logits.softmax(1)[torch.arange(5), labels]
    wanted = (weights[labels] * (1 - p) ** FOCAL_GAMMA * -p.log()).sum() / weights[labels].sum()
    torch.testing.assert_close(make_loss("focal", weights, 0.0)(logits, labels), wanted)
    plain = make_loss("cross_entropy", weights, 0.1)(logits, labels)
    torch.testing.assert_close(
        plain, F.cross_entropy(logits, labels, weight=weights, label_smoothing=0.1)
    )


class Words(nn.Module):
    """The smallest model with an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        distinct, places = ids.unique(return_inverse=True)
        return self.out(self.embedding(distinct)[places].mean(1))


def optimize(model: nn.Module, name: str = "adamw", **changes: object) -> Optimization:
    arguments: dict[str, object] = {
        "learning_rate": 0.01, "weight_decay": 0.0, "gradient_clip": 1e9, "scheduler": "none",
        "epochs": 3, "steps_per_epoch": 4, "patience": 3,
    }  # fmt: skip
    return Optimization(model, optimizer=name, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_only_the_batchs_words_move(name: str) -> None:
    torch.manual_seed(0)
    model = Words()
    before = model.embedding.weight.detach().clone()
    optimize(model, name).step(model(torch.tensor([[3, 4], [5, 3]])).pow(2).sum())
    moved = (model.embedding.weight != before).any(1).nonzero()[:, 0].tolist()
    assert moved == [3, 4, 5]


def test_the_first_sparse_step_equals_dense_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = Words(), Words()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.tensor([[3, 4], [5, 3]])
    optimize(ours).step(ours(ids).pow(2).sum())
    dense = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0)
    theirs(ids).pow(2).sum().backward()
    dense.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_many_sparse_steps_equal_torchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(9, 4)) for _ in range(2))
    optimizers = RowAdam([ours], lr=0.1), torch.optim.SparseAdam([theirs], lr=0.1)
    for _ in range(5):
        rows, _ = torch.randperm(9)[:4].sort()
        values = torch.randn(4, 4)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            with torch.sparse.check_sparse_tensor_invariants():
                parameter.grad = torch.sparse_coo_tensor(rows[None], values.clone(), (9, 4))
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, torch.ones(9, 4))


def test_clipping_covers_sparse_and_dense_gradients() -> None:
    dense, sparse = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(5, 2))
    dense.grad = torch.tensor([3.0, 0.0])
    with torch.sparse.check_sparse_tensor_invariants():  # torch 2.11 warns without it
        sparse.grad = torch.sparse_coo_tensor(
            torch.tensor([[1]]), torch.tensor([[0.0, 4.0]]), (5, 2)
        )
        norm = clip_gradients([dense, sparse], 1.0)
    assert norm.item() == pytest.approx(5.0)
    assert dense.grad.tolist() == pytest.approx([0.6, 0.0])
    assert sparse.grad.to_dense()[1].tolist() == pytest.approx([0.0, 0.8])


def test_vectors_at_rate_zero_are_frozen() -> None:
    model = Words()
    before = model.embedding.weight.detach().clone()
    optimize(model, embedding_rate_scale=0.0).step(model(torch.tensor([[3, 4]])).pow(2).sum())
    assert torch.equal(model.embedding.weight, before)
    assert model.embedding.weight.grad is None


def test_an_overflow_in_fp16_spoils_no_weights() -> None:
    torch.manual_seed(0)
    model = Words()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimization = optimize(model)
    optimization._scaler = torch.amp.GradScaler("cpu")
    model.out.weight.register_hook(lambda gradient: gradient * float("nan"))
    optimization.step(model(torch.tensor([[3, 4]])).pow(2).sum())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert optimization._scaler.get_scale() < 65536


@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "onecycle", "none"])
def test_schedules(scheduler: str) -> None:
    model = Words()
    optimization = optimize(model, scheduler=scheduler, embedding_rate_scale=0.5)
    rates = []
    for _ in range(3):
        for _ in range(4):
            rates.append(optimization.learning_rate)
            optimization.step(model(torch.tensor([[1, 2]])).sum())
        optimization.end_epoch(0.5)
    scale = [o.param_groups[0]["lr"] for o in optimization._optimizers]
    assert scale[1] == pytest.approx(0.5 * scale[0])
    if scheduler == "none":
        assert set(rates) == {0.01}
    elif scheduler == "plateau":
        assert rates[-1] == 0.01
        assert optimization.learning_rate == 0.005
    else:
        assert rates[-1] < max(rates) == pytest.approx(0.01, rel=0.05)


def run(params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary):
    return train_classifier(params, splits["train"], splits["val"], vocabulary, None)


def test_the_best_epochs_weights_are_kept_as_a_copy(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    """Wrong labels after the third epoch make an early one the best; it must not be overwritten."""
    changes = {"epochs": 6, "patience": 6, "learning_rate": 0.02, "scheduler": "none"}
    params = parse(merged(tiny_content, {**changes, "dropout": 0.0}), "params")
    device_config = devices.choose_device("cpu", "fp32")
    seed_everything(1)
    model = registry.build(
        "v1", vocab_size=len(vocabulary), embed_dim=8, num_filters=8, lstm_hidden=4, dropout=0.0
    )
    encoded = [
        encode_papers(part, vocabulary, title_length=9, abstract_length=60, device=CPU)
        for part in (splits["train"], splits["val"])
    ]
    snapshots: list[dict[str, torch.Tensor]] = []

    def snapshot(epoch: Epoch) -> None:
        snapshots.append({name: value.clone() for name, value in model.state_dict().items()})
        if epoch.epoch == 3:
            encoded[0].labels.add_(1).remainder_(3)

    history = fit(model, *encoded, params, device_config, on_epoch=snapshot)
    assert history.best < 3
    assert history.epochs[-1].val_accuracy < history.best_epoch.val_accuracy
    for name, value in model.state_dict().items():
        assert torch.equal(value, snapshots[history.best][name]), name
    logits = predict(model, encoded[1], device_config)
    accuracy = float((logits.argmax(1) == encoded[1].labels).double().mean())
    assert accuracy == max(epoch.val_accuracy for epoch in history.epochs)


def test_batches_are_alike_in_the_text_that_a_model_pads(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    train, val = (
        encode_papers(splits[part], vocabulary, title_length=30, abstract_length=300, device=CPU)
        for part in ("train", "val")
    )
    padding: dict[str, list[float]] = {"title": [], "abstract": []}

    def watch(_: nn.Module, texts: tuple[torch.Tensor, ...]) -> None:
        for name, ids in zip(padding, texts, strict=True):
            padding[name].append(float((ids == 0).double().mean()))

    shares = {}
    params = parse(merged(tiny_content, {"epochs": 1, "word_dropout": 0.0}), "params")
    for name in ("v1", "cnn_lstm"):
        model = registry.build(
            name, vocab_size=len(vocabulary), embed_dim=8, num_filters=4, lstm_hidden=4
        )
        model.register_forward_pre_hook(watch)
        fit(model, train, val, params, devices.choose_device("cpu", "fp32"))
        shares[name] = {text: np.mean(values) for text, values in padding.items()}
        padding = {"title": [], "abstract": []}
    assert shares["v1"]["title"] < shares["cnn_lstm"]["title"]
    assert shares["cnn_lstm"]["abstract"] < shares["v1"]["abstract"]


def test_patience_ends_training(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {"epochs": 30, "patience": 1, "learning_rate": 1e-9, "scheduler": "none"}
    changes["dropout"] = 0.0
    _, history = run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    assert len(history.epochs) < 30
    assert len(history.epochs) == history.best + 2


def test_patience_counts_from_the_last_rise_in_accuracy(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A loss that still falls a little is no reason to go on."""
    asked: list[int] = []

    def ever_surer(_: nn.Module, papers: Any, __: devices.DeviceConfig) -> torch.Tensor:
        asked.append(1)
        right = F.one_hot(papers.labels, 3) * 0.01 * len(asked)
        return torch.tensor([1.0, 0.0, 0.0]) + right

    monkeypatch.setattr("arxiv_hybrid.training.loop.predict", ever_surer)
    changes = {"epochs": 30, "patience": 2}
    _, history = run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    losses = [epoch.val_loss for epoch in history.epochs]
    assert losses == sorted(losses, reverse=True)
    assert len({epoch.val_accuracy for epoch in history.epochs}) == 1
    assert len(losses) == 3
    assert history.best == 2, "among equals the lowest loss"


def test_training_is_what_the_parameters_say(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: dict[str, Any] = {"mixed": 0, "unknown": 0, "batches": 0}

    class Watched(Optimization):
        def __init__(self, model: nn.Module, **given: Any) -> None:
            seen.update(given)
            super().__init__(model, **given)

    def watched_loss(name: str, weights: torch.Tensor | None, smoothing: float):
        seen.update(loss=name, weights=weights, smoothing=smoothing)
        return make_loss(name, weights, smoothing)

    forward = registry.MODELS["v1"].forward

    def watched_forward(
        self: nn.Module, titles: torch.Tensor, abstracts: torch.Tensor, **given: Any
    ):
        if self.training:
            seen["batches"] += 1
            seen["mixed"] += given.get("mixing") is not None
            seen["unknown"] += int((abstracts == 1).sum()) - seen["already"] / seen["of"]
        return forward(self, titles, abstracts, **given)

    monkeypatch.setattr("arxiv_hybrid.training.loop.Optimization", Watched)
    monkeypatch.setattr("arxiv_hybrid.training.loop.make_loss", watched_loss)
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
        "optimizer": "adam", "learning_rate": 0.003, "embedding_rate_scale": 0.3,
        "weight_decay": 0.02, "scheduler": "cosine", "epochs": 4, "accumulate": 2,
        "steps_per_epoch": -(-seen["of"] // 2),
    }.items():  # fmt: skip
        assert seen[name] == value, name
    assert 0 < seen["mixed"] < seen["batches"] == 4 * seen["of"]
    hidden = seen["unknown"] / (4 * int((encoded.abstract_ids > 1).sum()))
    assert hidden == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(("kind", "spread"), [("random", 0.1), ("wide", 1.0), ("pretrained", 0.5)])
def test_word_vectors_start_as_told(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch, kind: str, spread: float,
) -> None:  # fmt: skip
    starts: list[torch.Tensor] = []

    def fit(model: nn.Module, *_: Any, **__: Any) -> None:
        starts.append(model.embedding.weight.detach().clone())

    monkeypatch.setattr("arxiv_hybrid.training.classifier.fit", fit)
    given = np.random.default_rng(0).normal(0, 0.5, (len(vocabulary), 12)).astype(np.float32)
    params = parse(merged(tiny_content, {"embeddings": kind}), "params")
    train_classifier(params, splits["train"], splits["val"], vocabulary, given)
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


def test_v4_learns_how_the_vocabulary_is_written(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    params = parse(merged(tiny_content, {"model": "v4", "epochs": 1}), "params")
    classifier, _ = run(params, splits, vocabulary)
    row = vocabulary.index["the"]
    assert bytes(classifier.model.spelling[row].tolist()).rstrip(b"\0") == b"the"


def test_the_same_seed_trains_the_same_model(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    first, history = run(tiny_params, splits, vocabulary)
    again, repeated = run(tiny_params, splits, vocabulary)
    assert [e.train_loss for e in history.epochs] == [e.train_loss for e in repeated.epochs]
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


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


def test_bf16_trains_where_it_is_asked_for(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    params = parse(merged(tiny_content, {"precision": "bf16", "epochs": 1}), "params")
    classifier, history = run(params, splits, vocabulary)
    assert classifier.device_config.precision == "bf16"
    assert np.isfinite(history.best_epoch.train_loss)
    assert next(classifier.model.parameters()).dtype == torch.float32


def test_precision_and_device_are_chosen_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        assert devices.choose_device("cpu", "auto").precision == ("bf16" if fast else "fp32")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        devices.choose_device("cpu", "fp16")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no GPU"):
            devices.choose_device("cuda", "auto")


def test_a_classifier_survives_a_round_trip(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    classifier, _ = run(tiny_params, splits, vocabulary)
    checkpoint.save(tmp_path, classifier.model, vocabulary, classifier.config)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model.json", "model.safetensors", "vocab.txt"
    ]  # fmt: skip
    loaded = checkpoint.load(str(tmp_path))
    test = splits["test"]
    torch.testing.assert_close(
        loaded.probabilities(test), classifier.probabilities(test), rtol=0, atol=0
    )
    table = loaded.classify(test[["title", "abstract"]])
    assert set(table["category"]) <= set(loaded.config.classes)
    assert table.drop(columns="category").sum(axis=1).to_numpy() == pytest.approx(1.0)

    exact = checkpoint.load(tmp_path, precision="fp32")  # bf16 rounds a weight at its 3rd digit
    papers = explain(exact, test.head(3))
    for paper, (_, row) in zip(papers, test.head(3).iterrows(), strict=True):
        assert paper.title.tokens == tokenize(row["title"])[:12]  # tiny_params' title_length
        assert paper.title.heads.shape == (4, len(paper.title.tokens))
        assert paper.abstract.heads.sum(1) == pytest.approx(1.0, abs=1e-4)
        assert paper.actual == loaded.config.classes[row["label"]]
        _, maps = exact.model(*exact.encode(row.to_frame().T).batch(np.array([0]))[:2])
        fusion = [paper.title.fusion, paper.abstract.fusion]
        assert fusion == pytest.approx(maps["fusion_weights"][0].tolist(), abs=1e-5)
    assert [p.predicted for p in papers] == exact.classify(test.head(3))["category"].tolist()
    shown = attention_table(papers)
    assert set(shown["part"]) == {"title", "abstract"}
    title = shown[shown["part"] == "title"].groupby("id")["weight"].sum()
    assert title.to_numpy() == pytest.approx(1.0, abs=1e-4)

    words_of_old = (tmp_path / "vocab.txt").read_text()
    (tmp_path / "vocab.txt").write_text(words_of_old + "more\n")
    with pytest.raises(UserError, match=r"not a sound model: \d+ words for \d+ vectors"):
        checkpoint.load(tmp_path)
    (tmp_path / "vocab.txt").write_text(words_of_old)
    assert loaded.classify(test.head(0)).columns.tolist() == table.columns.tolist()
    with pytest.raises(UserError, match="papers need a title each"):
        loaded.classify(test.head(2).assign(title=[None, "x"]))
    (tmp_path / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(UserError, match="not a sound model"):
        checkpoint.load(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"vocab\.txt: not found"):
        checkpoint.load(tmp_path)


def test_explanations_show_20_title_and_50_abstract_words(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {"epochs": 1, "vocab": {"title_length": 30, "abstract_length": 300}}
    classifier, _ = run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    papers = splits["test"].head(2)
    papers = papers.assign(title=papers["title"] + " " + papers["abstract"])
    shown = attention_table(explain(classifier, papers))
    assert shown.groupby("part")["position"].max().to_dict() == {"abstract": 50, "title": 20}


def test_fit_reports_every_epoch(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    seen = []
    _, history = train_classifier(
        tiny_params, splits["train"], splits["val"], vocabulary, None, on_epoch=seen.append
    )
    assert seen == history.epochs


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
    params = parse(merged(tiny_content, {"model": model, "recipe": recipe, "epochs": 1}), "tiny")
    embeddings = np.zeros((len(vocabulary), params.glove.dim), dtype=np.float32)
    embeddings[2:] = 1.0
    classifier, history = train_classifier(
        params, splits["train"], splits["val"], vocabulary, embeddings
    )
    assert np.isfinite(history.best_epoch.val_loss)
    spread = float(classifier.model.embedding.weight[2:].detach().std())
    told = {"pretrained": 0.0, "random": 0.1, "wide": 1.0}[params.embeddings]
    assert spread == pytest.approx(told, abs=0.05)
    checkpoint.save(tmp_path, classifier.model, vocabulary, classifier.config)
    loaded = checkpoint.load(tmp_path)
    torch.testing.assert_close(
        loaded.probabilities(splits["test"]), classifier.probabilities(splits["test"])
    )


WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero",
    "unique_consecutive", "equal", "repeat_interleave", "_coalesce", "bincount",
}  # fmt: skip


class Waits(TorchDispatchMode):
    """Notes every operation for which the host would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masks = name in {"index", "index_put", "index_put_", "_index_put_impl_"} and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or masks:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("model", sorted(registry.MODELS))
def test_no_batch_waits_for_a_gpu(
    model: str,
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = parse(merged(tiny_content, {"model": model, "epochs": 1, "mixup": 0.5}), "tiny")
    waits, epoch = Waits(), loop._train_epoch

    def watched(*arguments: Any) -> tuple[float, float]:
        with waits:
            return epoch(*arguments)

    monkeypatch.setattr(loop, "_train_epoch", watched)
    train_classifier(params, splits["train"], splits["val"], vocabulary, None)
    # loss and accuracy, when the epoch is over
    assert waits.seen == ["_local_scalar_dense"] * 2


def test_a_gpu_is_not_waited_for(
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, which tells when the host waits for it")
    epoch = loop._train_epoch

    def watched(*arguments: Any) -> tuple[float, float]:
        torch.cuda.set_sync_debug_mode("error")
        monkeypatch.setattr(torch.Tensor, "item", lambda value: _read(value))
        return epoch(*arguments)

    def _read(value: torch.Tensor) -> float:
        torch.cuda.set_sync_debug_mode("default")  # the first figure of a whole epoch
        return float(value)

    monkeypatch.setattr(loop, "_train_epoch", watched)
    params = parse(merged(tiny_content, {"epochs": 2, "device": "cuda"}), "tiny")
    _, history = train_classifier(params, splits["train"], splits["val"], vocabulary, None)
    assert len(history.epochs) == 2


def test_a_training_that_diverges_says_so(
    tiny_content: dict[str, Any], splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {"learning_rate": 10.0, "gradient_clip": 1e30, "optimizer": "sgd", "epochs": 3}
    params = parse(merged(tiny_content, changes), "p")
    with pytest.raises(UserError, match=r"training diverged: .* lower learning_rate \(10\)"):
        train_classifier(params, splits["train"], splits["val"], vocabulary, None)
