"""A training run that is killed resumes from its last saved epoch, with the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, SEVERAL, merged
from forks import Fork
from ports import free_port
from safetensors.torch import save as serialize

from arxiv_hybrid.params import parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import progress as progress_module
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.distributed import Group, process_group
from arxiv_hybrid.training.optimizers import ModelOptimizer, OptimizerConfig
from arxiv_hybrid.training.progress import FILE, Progress, discard
from arxiv_hybrid.training.seed import random_state, restore_random_state
from arxiv_hybrid.training.trainer import Epoch, History, print_epoch

CPU = torch.device("cpu")
LONG = {"epochs": 3, "patience": 3, "dropout": 0.3, "word_dropout": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "v1": {},
    "v4 reads characters": {"model": "v4", "scheduler": "warmup_cosine", "epochs": 2},
    "several labels": {"labels": {"from": "listed", "classes": 4}},
    "mixup": {"mixup": 0.7, "scheduler": "cosine"},
    "plateau": {"scheduler": "plateau", "patience": 1, "learning_rate": 0.03, "epochs": 12},
    "accumulate": {"accumulate": 3, "class_weights": "balanced", "loss": "focal"},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "scheduler": "none"},
    "frozen vectors": {"model": "v5", "glove": {"learning_rate_scale": 0.0}},
    "bf16": {"model": "cnn_lstm", "precision": "bf16"},
}


class Killed(Exception):  # noqa: N818
    """The process ended here."""


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "ALLOWANCE", 1e9)


@pytest.fixture
def train(
    tiny_content: dict[str, Any],
    several_splits: dict[str, pd.DataFrame],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
) -> Callable[..., tuple[bytes, History]]:
    """Train with `changes`, at most until an epoch ends; the weights as bytes, and the history."""

    def trained(
        changes: dict[str, Any],
        resume: Path | None = None,
        until: int | None = None,
        **edited: pd.DataFrame,
    ) -> tuple[bytes, History]:
        params = parse(merged(tiny_content, {**LONG, **changes}), "params")
        several = params.labels.multi_label
        parts, label_set = (several_splits, SEVERAL) if several else (splits, CLASSES)
        parts = {**parts, **edited}

        def on_epoch(epoch: Epoch) -> None:
            if until is not None and epoch.epoch >= until:
                raise Killed

        classifier, history = train_classifier(
            params, parts["train"], parts["val"], vocabulary, None, label_set,
            on_epoch=on_epoch, resume=resume,
        )  # fmt: skip
        return serialize(classifier.model.state_dict()), history

    return trained


def without_speed(history: History) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in vars(epoch).items() if k != "documents_per_second"}
        for epoch in history.epochs
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    case: str,
    train: Callable[..., tuple[bytes, History]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights, history = train(CASES[case])
    with pytest.raises(Killed):
        train(CASES[case], tmp_path, 1)
    torch.manual_seed(5)  # whatever the new process draws before
    resumed, again = train(CASES[case], tmp_path)
    assert resumed == weights
    assert without_speed(again) == without_speed(history)
    assert (again.best, again.val_papers) == (history.best, history.val_papers)
    epochs = CASES[case].get("epochs", LONG["epochs"])
    assert f"resuming after epoch 1 of {epochs}\n" in capsys.readouterr().err
    # all epochs were done, but the process died before it had saved the model
    assert train(CASES[case], tmp_path)[0] == weights
    assert f"resuming after epoch {len(history.epochs)} of" in capsys.readouterr().err
    if case == "plateau":
        assert len(history.epochs) < epochs, "patience must end this run, resumed or not"


def test_another_run_starts_anew_and_says_why(
    train: Callable[..., tuple[bytes, History]],
    splits: dict[str, pd.DataFrame],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def message(changes: dict[str, Any], **edited: pd.DataFrame) -> str:
        with pytest.raises(Killed):
            train(changes, tmp_path, 1, **edited)
        return capsys.readouterr().err

    def edit(part: str, column: str, value: object) -> pd.DataFrame:
        frame = splits[part].copy()
        frame[column] = [value, *frame[column][1:]]
        return frame

    assert "anew" not in message({})
    assert message({"learning_rate": 1e-9}) == "starting anew: learning_rate changed\n"
    assert message({"epochs": 9}) == "starting anew: learning_rate, epochs changed\n"
    assert message({"architecture": {"lstm_hidden": 4}, "epochs": 9}) == (
        "starting anew: architecture.lstm_hidden, initial weights changed\n"
    )
    for part, column, value, name in (
        ("train", "title", "Deep learning", "training papers"),
        ("train", "label", (splits["train"]["label"].iloc[0] + 1) % 3, "training papers"),
        ("val", "label", (splits["val"]["label"].iloc[0] + 1) % 3, "validation papers"),
    ):
        message({})
        changed = message({}, **{part: edit(part, column, value)})
        assert changed == f"starting anew: {name} changed\n"
    message({})
    monkeypatch.setattr(progress_module, "CODE", ("training",))
    assert message({}) == "starting anew: code changed\n"
    several = message({"labels": {"from": "listed", "classes": 4}})
    assert several.startswith("starting anew: ")
    assert several.endswith("more changed\n")
    weights, _ = train({"seed": 5})
    assert train({"seed": 5}, tmp_path)[0] == weights, "nothing of the other run is left"


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text", "folder", "header"])
def test_a_damaged_state_is_told_in_one_line(
    damage: str,
    train: Callable[..., tuple[bytes, History]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights, _ = train({"epochs": 2})
    with pytest.raises(Killed):
        train({"epochs": 2}, tmp_path, 1)
    capsys.readouterr()
    path = tmp_path / FILE
    content = path.read_bytes()
    broken = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "flipped": content[:-100] + bytes([content[-100] ^ 4]) + content[-99:],
        "text": b"not a state",
        "header": content.replace(b"epochs", b"epochz", 1),
    }
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(broken[damage])
    assert train({"epochs": 2}, tmp_path)[0] == weights
    lines = capsys.readouterr().err.splitlines()
    assert f"{path}: damaged, starting anew" in lines[0]
    assert len(lines) == (2 if damage == "folder" else 1), lines  # a folder is not overwritten


def test_a_full_disk_does_not_stop_training(
    train: Callable[..., tuple[bytes, History]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    weights, _ = train({})
    monkeypatch.setattr(progress_module, "save_file", full)
    assert train({}, tmp_path)[0] == weights
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "cannot be written, so this run cannot be resumed" in lines[0]
    assert not list(tmp_path.iterdir()), "no temporary file is left"


def test_saving_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake clock: epochs of 3 s, and a disk that takes 0.5 s for each state."""
    now, saved = [0.0], []
    monkeypatch.setattr(progress_module, "ALLOWANCE", 0.2)

    def slow(*_: Any, **__: Any) -> None:
        now[0] += 0.5

    monkeypatch.setattr(progress_module, "_write", slow)
    monkeypatch.setattr(progress_module, "atomic", nullcontext)
    progress = Progress(tmp_path, {}, clock=lambda: now[0])
    for epoch in range(1, 101):
        now[0] += 3
        if progress.is_due():
            progress.save({})
            saved.append(epoch)
    assert saved[0] == 1, "the first epoch is always saved"
    assert 5 <= len(saved) <= 1 + (0.2 + 0.01 * now[0]) / 0.5
    assert np.diff(saved).max() < 30
    assert not Progress(tmp_path, {}, Group(1, 2, local_rank=1)).is_due(), "one process writes"


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / f".{FILE}.123.tmp").write_text("of a killed process")
    discard(folder)
    discard(folder)  # also if there is nothing
    assert not folder.exists()


def test_all_generators_continue() -> None:
    def draw() -> list[float]:
        legacy = np.random.rand()  # noqa: NPY002
        return [random.random(), legacy, np.random.standard_normal(), torch.rand(1).item()]  # noqa: NPY002

    random.gauss(0, 1)
    np.random.standard_normal()  # noqa: NPY002
    state = json.loads(json.dumps(random_state(CPU)))
    expected = draw() + draw()
    restore_random_state(state, CPU)
    assert draw() + draw() == expected


@pytest.mark.parametrize("scheduler", ["onecycle", "cosine", "warmup_cosine", "plateau", "none"])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_the_state_of_every_optimizer_is_complete(
    name: str, scheduler: str, tmp_path: Path
) -> None:
    def build() -> tuple[torch.nn.Module, ModelOptimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2))
        config = OptimizerConfig(name, 0.1, 0.01, 1.0, scheduler)
        return model, ModelOptimizer(model, config, epochs=6, batches_per_epoch=2, patience=2)

    def epochs(model: torch.nn.Module, optimizer: ModelOptimizer, first: int, last: int) -> None:
        for epoch in range(first, last):
            for step in (0, 1):
                ids = torch.tensor([epoch, 1 + step * 2])
                optimizer.step(model(ids).square().sum(), last=step == 1)
            optimizer.end_epoch(0.5)

    model, optimizer = build()
    epochs(model, optimizer, 0, 3)
    progress = Progress(tmp_path, {})
    progress.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    epochs(model, optimizer, 3, 6)
    resumed, other = build()
    state = Progress(tmp_path, {}).load()
    assert state is not None
    resumed.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    epochs(resumed, other, 3, 6)
    assert serialize(resumed.state_dict()) == serialize(model.state_dict())
    assert other.learning_rate == optimizer.learning_rate


@pytest.fixture
def trained(
    tmp_path: Path, tiny_content: dict[str, Any], splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
) -> Callable[..., Fork]:  # fmt: skip
    """Start training in a new process, which may get a signal from `on_epoch`."""
    params = parse(merged(tiny_content, {**LONG, "mixup": 0.5}), "params")

    def run(out: str, on_epoch: Callable[[Epoch], None] = print_epoch, **variables: str) -> Fork:
        def train() -> None:
            with process_group(1, CPU) as group:
                classifier, _ = train_classifier(
                    params, splits["train"], splits["val"], vocabulary, None, CLASSES,
                    group=group, on_epoch=on_epoch, resume=tmp_path / "state",
                )  # fmt: skip
                if group.is_main:
                    (tmp_path / out).write_bytes(serialize(classifier.model.state_dict()))

        rank = variables.get("RANK", "")
        return Fork(tmp_path / f"{out}{rank}.log", train, **variables)

    return run


def undisturbed(folder: Path, trained: Callable[..., Fork]) -> bytes:
    assert trained("undisturbed").wait() == 0
    discard(folder / "state")
    return (folder / "undisturbed").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_process_that_gets_a_signal_leaves_a_state(
    tmp_path: Path, trained: Callable[..., Fork], number: int
) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            os.kill(os.getpid(), number)

    expected = undisturbed(tmp_path, trained)
    assert trained("killed", stop).wait() == (130 if number == signal.SIGINT else -number)
    assert not (tmp_path / "killed").exists()
    last = trained("resumed")
    assert last.wait() == 0
    assert (tmp_path / "resumed").read_bytes() == expected
    assert "resuming after epoch 2 of 3\n" in last.printed
    lines = [line[:9] for line in last.printed.splitlines() if line.startswith("epoch")]
    assert lines == [f"epoch   {n}" for n in (1, 2, 3)], "MLflow gets every epoch again"


def test_kills_at_random_times(tmp_path: Path, trained: Callable[..., Fork]) -> None:
    expected = undisturbed(tmp_path, trained)
    draw = random.Random(1)
    for _ in range(6):
        process = trained("killed")
        time.sleep(draw.uniform(0.05, 0.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert "damaged" not in process.printed
    assert trained("resumed").wait() == 0
    assert (tmp_path / "resumed").read_bytes() == expected


def test_a_kill_while_the_state_is_written_leaves_the_one_before(
    tmp_path: Path, trained: Callable[..., Fork], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(tmp_path, trained)
    real = progress_module.save_file

    def killed(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        real(tensors, path, metadata=metadata)
        if '"epoch", 2' in metadata["content"]:
            path.write_bytes(path.read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(progress_module, "save_file", killed)
        assert trained("killed").wait() == -signal.SIGKILL
    assert len(list((tmp_path / "state").iterdir())) == 2, "the state before, and a part"
    last = trained("resumed")
    assert last.wait() == 0
    assert "resuming after epoch 1 of 3\n" in last.printed
    assert (tmp_path / "resumed").read_bytes() == expected


def test_several_processes_resume_together(tmp_path: Path, trained: Callable[..., Fork]) -> None:
    def together(out: str, on_epoch: Callable[[Epoch], None] = print_epoch) -> list[Fork]:
        port = str(free_port())
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return [trained(out, on_epoch, RANK=str(rank), **variables) for rank in (0, 1)]

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    assert [process.wait() for process in together("undisturbed")] == [0, 0]
    discard(tmp_path / "state")
    assert all(process.wait() for process in together("killed", stop))
    processes = together("resumed")
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "undisturbed").read_bytes()
    assert ["resuming after epoch 2 of 3" in process.printed for process in processes] == [
        True,
        False,
    ]
    alone = trained("alone")
    assert alone.wait() == 0
    assert "starting anew: processes changed" in alone.printed
