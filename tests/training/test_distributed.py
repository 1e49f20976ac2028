"""Several processes that train one model take the same steps as one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, ROOT, SEVERAL, merged, with_model
from safetensors.torch import load_file

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import parse
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.batches import shuffled_batches
from arxiv_hybrid.training.classifier import curves, train_classifier
from arxiv_hybrid.training.distributed import SINGLE, Group, process_group
from arxiv_hybrid.training.trainer import Epoch

TRAIN = f"""\
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_distributed import train
train(Path(sys.argv[1]), "of-2", 2)
"""


def train(folder: Path, name: str, count: int = 1) -> None:
    """Train, as one of a group of processes, with the parameters and papers in a folder."""
    params = parse(json.loads((folder / "params.json").read_text()), "p")
    papers = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "val")}
    tokens = tokenize_all(texts_of(papers["train"]))
    vocabulary = Vocabulary.build(tokens, max_size=3000, min_freq=2)
    label_set = LabelSet.read(folder / "labels.json")
    with process_group(count, torch.device("cpu")) as group:
        reported: list[Epoch] = []
        classifier, history = train_classifier(
            params, papers["train"], papers["val"], vocabulary, None, label_set, group=group,
            on_epoch=reported.append,
        )  # fmt: skip
        out = folder / name / str(group.rank)
        checkpoint.save(out, classifier.model, vocabulary, classifier.config)
        curves(history).to_csv(out / "curves.csv", index=False)
        (out / "reported").write_text(str(len(reported)))


def trained(folder: Path, count: int) -> list[Path]:
    """Train in `count` copies of this process; each one's folder."""
    name = f"of-{count}"
    if count == 1:
        processes = [forks.Fork(folder / "single.log", lambda: train(folder, name))]
    else:
        processes = forks.machines(folder, [0] * count, lambda: train(folder, name))
    assert [process.wait() for process in processes] == [0] * count, processes[0].printed
    assert not any("Warning" in process.printed for process in processes)
    return [folder / name / str(rank) for rank in range(count)]


def prepare(folder: Path, splits: dict[str, pd.DataFrame], label_set: LabelSet) -> None:
    """Write what the script reads, except its parameters."""
    for name in ("train", "val"):
        splits[name].to_parquet(folder / f"{name}.parquet")
    label_set.write(folder / "labels.json")


EQUAL = {"model": "v5", "dropout": 0.0, "word_dropout": 0.0, "precision": "fp32", "epochs": 2,
         "batch_size": 32, "learning_rate": 0.002}  # fmt: skip


@pytest.fixture
def prepared(
    tmp_path: Path, splits: dict[str, pd.DataFrame], tiny_content: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    prepare(tmp_path, splits, CLASSES)
    return tmp_path, merged(tiny_content, EQUAL)


@pytest.mark.parametrize("model", ["v5", "v6"])
def test_two_processes_learn_what_one_learns(
    prepared: tuple[Path, dict[str, Any]], model: str
) -> None:
    folder, content = prepared
    content = with_model(content, model, class_weights=[1.0, 3.0, 0.5])
    (folder / "params.json").write_text(json.dumps(content))
    check_two_processes_equal_one(folder)


def test_two_processes_learn_the_several_labels_that_one_learns(
    tmp_path: Path, several_splits: dict[str, pd.DataFrame], several_content: dict[str, Any]
) -> None:
    prepare(tmp_path, several_splits, SEVERAL)
    content = merged(several_content, {**EQUAL, "class_weights": "balanced"})
    (tmp_path / "params.json").write_text(json.dumps(content))
    check_two_processes_equal_one(tmp_path)
    configs = [
        json.loads((tmp_path / name / "model.json").read_text()) for name in ("of-1/0", "of-2/1")
    ]
    np.testing.assert_allclose(configs[0]["thresholds"], configs[1]["thresholds"], atol=0.02)


def check_two_processes_equal_one(folder: Path) -> None:
    (single,), (first, second) = trained(folder, 1), trained(folder, 2)
    weights = {path: load_file(path / "model.safetensors") for path in (single, first, second)}
    for name, value in weights[single].items():
        torch.testing.assert_close(weights[first][name], weights[second][name], rtol=0, atol=0)
        torch.testing.assert_close(weights[first][name], value, rtol=0, atol=2e-4)
    curves, expected = (pd.read_csv(path / "curves.csv") for path in (first, single))
    np.testing.assert_allclose(curves, expected, atol=1e-3)
    assert expected["train_loss"].nunique() == 2, "the loss must change"
    assert [(path / "reported").read_text() for path in (first, second)] == ["2", "0"]


def test_torchrun_is_started_and_v1_with_all_regularizers_ends_with_equal_weights(
    prepared: tuple[Path, dict[str, Any]],
) -> None:
    folder, content = prepared
    content = merged(content, {"model": "v1", "dropout": 0.3, "word_dropout": 0.1, "mixup": 0.5})
    (folder / "params.json").write_text(json.dumps(content))
    script = folder / "train.py"
    script.write_text(TRAIN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    paths = [folder / f"of-2/{rank}/model.safetensors" for rank in range(2)]
    first, second = map(load_file, paths)
    assert any("running_mean" in name for name in first)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_every_row_of_a_batch_belongs_to_one_process() -> None:
    rows = np.arange(11)
    shards = [Group(rank, 3).shard(rows) for rank in range(3)]
    assert sorted(np.concatenate(shards).tolist()) == rows.tolist()
    assert {len(shard) for shard in shards} == {3, 4}


def test_every_process_gets_rows() -> None:
    for count in range(8, 80):
        batches = shuffled_batches(np.arange(count), 16, np.random.default_rng(0), min_size=8)
        assert sum(len(rows) for rows in batches) == count
        assert min(len(rows) for rows in batches) >= 8


def test_a_single_process_is_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with process_group(1, torch.device("cpu")) as group:
        assert group == SINGLE
        assert group.is_main


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"processes": 4, "device": "cuda:1"}, ["cuda:1 is a single GPU"]),
        ({"processes": 8, "batch_size": 8}, ["batch_size: 8", "8 processes"]),
        ({"processes": 0}, ["processes: 0"]),
    ],
)
def test_impossible_processes_are_refused(
    tiny_content: dict[str, Any], changes: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        parse(merged(tiny_content, changes), "params.yaml")
    for fragment in fragments:
        assert fragment in str(caught.value)
