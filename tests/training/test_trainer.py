"""The training loop: best weights, patience, no waiting for a GPU."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, CPU, merged, with_model
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from arxiv_hybrid.inference import devices
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress, Ticker
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import fit, train_classifier
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.training.trainer import Epoch, History, Trainer


def run(params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary):
    return train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)


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

    history = fit(model, *encoded, CLASSES, params, device_config, on_epoch=snapshot)
    assert history.best < 3
    assert history.epochs[-1].val_accuracy < history.best_epoch.val_accuracy
    for name, value in model.state_dict().items():
        assert torch.equal(value, snapshots[history.best][name]), name
    logits = predict(model, encoded[1], device_config)
    accuracy = float((logits.argmax(1) == encoded[1].labels).double().mean())
    assert accuracy == max(epoch.val_accuracy for epoch in history.epochs)


def test_batches_have_similar_lengths_in_the_text_that_a_model_pads(
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
        fit(model, train, val, CLASSES, params, devices.choose_device("cpu", "fp32"))
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
    """A slightly lower loss alone does not keep training going."""
    asked: list[int] = []

    def ever_surer(_: nn.Module, papers: Any, __: devices.DeviceConfig) -> torch.Tensor:
        asked.append(1)
        right = F.one_hot(papers.labels, 3) * 0.01 * len(asked)
        return torch.tensor([1.0, 0.0, 0.0]) + right

    monkeypatch.setattr("arxiv_hybrid.training.classifier.predict", ever_surer)
    changes = {"epochs": 30, "patience": 2}
    _, history = run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    losses = [epoch.val_loss for epoch in history.epochs]
    assert losses == sorted(losses, reverse=True)
    assert len({epoch.val_accuracy for epoch in history.epochs}) == 1
    assert len(losses) == 3
    assert history.best == 2, "among equals the lowest loss"


def test_the_same_seed_trains_the_same_model(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    first, history = run(tiny_params, splits, vocabulary)
    again, repeated = run(tiny_params, splits, vocabulary)
    assert [e.train_loss for e in history.epochs] == [e.train_loss for e in repeated.epochs]
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_fit_reports_every_epoch(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    seen = []
    _, history = train_classifier(
        tiny_params, splits["train"], splits["val"], vocabulary, None, CLASSES, on_epoch=seen.append
    )
    assert seen == history.epochs


@pytest.mark.parametrize(
    ("val", "train", "papers", "rising"),
    [
        ([0.3, 0.5, 0.6], 0.58, 400, True),
        ([0.3, 0.5, 0.6], 0.58, 20, False),  # a standard error of 11 points
        ([0.3, 0.5, 0.6], 0.80, 400, False),  # overfits
        ([0.3, 0.6, 0.5], 0.40, 400, False),
        ([0.6], 0.5, 400, False),  # nothing to compare with
    ],
)
def test_a_run_says_if_it_was_too_short(
    val: list[float], train: float, papers: int, *, rising: bool
) -> None:
    epochs = [
        Epoch(number, 1.0, train, 1.0, accuracy, 0.001, 100.0)
        for number, accuracy in enumerate(val, 1)
    ]
    history = History(epochs, best=int(np.argmax(val)), val_papers=papers)
    assert history.still_rising == rising
    assert ("still rose in the last epoch: try epochs=6" in history.summary) == rising


def test_lines_say_how_far_an_epoch_is(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def update(bar: Progress, count: int = 1) -> None:
        bar.n += count
        bar.refresh()

    monkeypatch.setattr(Ticker, "is_due", lambda _: True)
    monkeypatch.setattr(Progress, "update", update)
    run(tiny_params, splits, vocabulary)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  epoch")]
    total = len(splits["train"])
    for epoch in (1, 2):
        assert any(line.startswith(f"  epoch {epoch}/2: ") for line in lines)
    pattern = (
        rf"  epoch \d/2: \d+%, \d+ of {total} papers, .*\d:\d\d left, loss \d.*, accuracy [01]\.\d+"
    )
    assert any(re.fullmatch(pattern, line) for line in lines), lines


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
    params = parse(with_model(tiny_content, model, epochs=1, mixup=0.5), "tiny")
    waits, train_pass = Waits(), Trainer._train_pass

    def watched(*arguments: Any) -> tuple[float, float]:
        with waits:
            return train_pass(*arguments)

    monkeypatch.setattr(Trainer, "_train_pass", watched)
    monkeypatch.setattr(Ticker, "is_due", lambda _: False)  # a line would read the loss
    train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)
    # loss and accuracy, at the end of the epoch
    assert waits.seen == ["_local_scalar_dense"] * 2


def test_training_on_a_gpu_never_waits_for_it(
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, which reports when the host waits for it")
    train_pass = Trainer._train_pass

    def watched(*arguments: Any) -> tuple[float, float]:
        torch.cuda.set_sync_debug_mode("error")
        monkeypatch.setattr(torch.Tensor, "item", lambda value: _read(value))
        return train_pass(*arguments)

    def _read(value: torch.Tensor) -> float:
        torch.cuda.set_sync_debug_mode("default")  # the first figure of a whole epoch
        return float(value)

    monkeypatch.setattr(Trainer, "_train_pass", watched)
    params = parse(merged(tiny_content, {"epochs": 2, "device": "cuda"}), "tiny")
    _, history = train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)
    assert len(history.epochs) == 2


def test_divergence_is_reported(
    tiny_content: dict[str, Any], splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {"learning_rate": 10.0, "gradient_clip": 1e30, "optimizer": "sgd", "epochs": 3}
    params = parse(merged(tiny_content, changes), "p")
    with pytest.raises(UserError, match=r"training diverged: .* lower learning_rate \(10\)"):
        train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)
