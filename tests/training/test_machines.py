"""Several machines that train one model, here as copies of this process with a folder for each."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import CLASSES, CPU, merged
from forks import Fork, machines
from safetensors.torch import save as serialize

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.params import parse
from arxiv_hybrid.system import agreement
from arxiv_hybrid.system.agreement import Answer, differences, failing_together
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import progress as progress_module
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.distributed import process_group
from arxiv_hybrid.training.progress import FILE, Progress, shared_facts
from arxiv_hybrid.training.trainer import Epoch, print_epoch

LONG = {"model": "v5", "epochs": 3, "patience": 3, "word_dropout": 0.1, "batch_size": 64}
MODEL, METRICS = Path("models/main"), Path("metrics.json")
FP32 = DeviceConfig(CPU, "fp32")


def printed(processes: Sequence[Fork], part: str) -> list[int]:
    """The ranks of the processes that printed a line with this part."""
    return [rank for rank, process in enumerate(processes) if part in process.printed]


def statuses(processes: Sequence[Fork]) -> list[int]:
    return [process.wait() for process in processes]


def test_every_machine_gets_the_outputs(tmp_path: Path) -> None:
    def train() -> None:
        with process_group(1, CPU) as group:
            (MODEL / "parts").mkdir(parents=True, exist_ok=True)
            (MODEL / f"of-{group.rank}").write_text("of this process, or of an older run")
            if group.is_main:
                (MODEL / "parts/weights").write_bytes(bytes(range(256)) * 1000)
                (MODEL / "empty").touch()
                METRICS.write_text("{}")
            group.copy_to_machines([MODEL, METRICS])
            assert METRICS.is_file(), "it returns when all have the files"

    processes = machines(tmp_path, [0, 0, 1, 1], train)
    assert statuses(processes) == [0] * 4
    for host in ("host-0", "host-1"):
        files = {path for path in (tmp_path / host).rglob("*") if path.is_file()}
        names = {path.relative_to(tmp_path / host).as_posix() for path in files}
        expected = {"models/main/parts/weights", "models/main/empty", "metrics.json"}
        assert names - {"models/main/of-1"} == {*expected, "models/main/of-0"}, host
        weights = (tmp_path / host / MODEL / "parts/weights").read_bytes()
        assert weights == bytes(range(256)) * 1000
    assert printed(processes, "machine 1 of 2, 4 processes\n") == [0]
    assert printed(processes, "machine 2 of 2 trains along, host-0 shows how far\n") == [2]
    assert printed(processes, "models/main, metrics.json: copied from host-0\n") == [2]


@pytest.mark.parametrize("of_rank", [[0, 1], [0, 0, 1, 1]])
def test_machines_that_differ_all_stop_with_one_line(tmp_path: Path, of_rank: list[int]) -> None:
    def train() -> None:
        machine = int(os.environ["GROUP_RANK"])
        facts = {"dropout": 0.5 + machine / 10, "same": 1, "data/vocab.txt": f"{machine}" * 64}
        with process_group(1, CPU, lambda: facts):
            raise AssertionError("nothing is trained")

    processes = machines(tmp_path, of_rank, train)
    assert statuses(processes) == [2] * len(of_rank)
    line = (
        "error: the machines differ in dropout (0.5 on host-0, 0.6 on host-1), data/vocab.txt; all "
        "need the same commit, params.yaml and data (git pull, dvc pull)\n"
    )
    first = [of_rank.index(0), of_rank.index(1)]
    assert [process.printed for process in (processes[rank] for rank in first)] == [line, line]
    assert printed(processes, "error") == first


def test_the_mistake_of_one_machine_stops_all(tmp_path: Path) -> None:
    def train() -> None:
        with failing_together():
            if os.environ["GROUP_RANK"] == "1":
                raise UserError("params.yaml: dropout: 7 is not allowed")
        with process_group(1, CPU):
            raise AssertionError("nothing is trained")

    processes = machines(tmp_path, [0, 1, 2], train)
    assert statuses(processes) == [2, 2, 2]
    own = "error: params.yaml: dropout: 7 is not allowed\n"
    others = own.replace("error: ", "error: host-1: ")
    assert [process.printed for process in processes] == [others, own, others]


def test_a_process_that_never_starts_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> None:
        if os.environ["RANK"] == "1":
            return
        with process_group(1, CPU):
            raise AssertionError("nothing is trained")

    monkeypatch.setattr(agreement, "WAIT", agreement.WAIT / 300)
    processes = machines(tmp_path, [0, 1], train)
    assert statuses(processes) == [2, 0]
    assert "error: not all of 2 processes started within" in processes[0].printed


def test_a_lost_machine_ends_the_others_in_one_line(tmp_path: Path) -> None:
    def train() -> None:
        with process_group(1, CPU) as group:
            group.gather(b"all have started")
            if group.machine == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            group.gather(b"")

    processes = machines(tmp_path, [0, 0, 1], train)
    assert statuses(processes) == [1, 1, -signal.SIGKILL]
    lines = processes[0].printed.splitlines()
    assert lines[0] == "machine 1 of 2, 3 processes"
    assert lines[1].startswith("lost another process of this training: ")
    assert len(lines) == 2, "no traceback"
    assert processes[1].printed == ""


def test_what_may_not_differ_is_named(tmp_path: Path, tiny_content: dict[str, Any]) -> None:
    (tmp_path / "train.parquet").write_text("papers")
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "model.json").write_text("{}")

    def facts(*files: str, config: DeviceConfig = FP32, **changes: Any) -> dict[str, Any]:
        params = parse(merged(tiny_content, changes), "params.yaml")
        return shared_facts(params, config, [tmp_path / name for name in files], encoder)

    def line(first: dict[str, Any], second: dict[str, Any]) -> str:
        return differences([Answer(0, "one", first), Answer(1, "two", second)])

    usual = facts("train.parquet")
    assert line(usual, facts("train.parquet")) == ""
    assert line(usual, facts("train.parquet", tracking={"enabled": False})) == ""
    text = line(usual, facts("train.parquet", labels={"from": "listed"}, seed=5))
    assert "the machines differ in seed (42 on one, 5 on two), " in text
    assert ", labels.from ('primary' on one, 'listed' on two);" in text
    bf16 = facts("train.parquet", config=DeviceConfig(CPU, "bf16"))
    assert "differ in precision ('fp32' on one, 'bf16' on two);" in line(usual, bf16)
    (encoder / "model.json").write_text("[]")
    assert "differ in the encoder of pretrained;" in line(usual, facts("train.parquet"))
    (tmp_path / "train.parquet").unlink()
    expected = f"{tmp_path}/train.parquet (not on two), the encoder of pretrained;"
    assert expected in line(usual, facts("train.parquet"))
    many = {f"name {number}": number for number in range(9)}
    assert "name 4 (4 on machine 1, 5 on machine 2) and 4 more; all" in differences(
        [Answer(0, "same", many), Answer(1, "same", {name: n + 1 for name, n in many.items()})]
    )


@pytest.fixture
def train(
    tmp_path: Path, tiny_content: dict[str, Any], splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[Fork]]:  # fmt: skip
    """Train on machines of some numbers, by rank; all end when one is killed after an epoch."""
    monkeypatch.setattr(progress_module, "ALLOWANCE", 1e9)  # every epoch is saved
    params = parse(merged(tiny_content, LONG), "params")

    def run(name: str, killed_after: int | None) -> None:
        def on_epoch(epoch: Epoch) -> None:
            print_epoch(epoch)
            if epoch.epoch == killed_after:
                os.kill(os.getpid(), signal.SIGKILL)

        with process_group(1, CPU) as group:
            classifier, _ = train_classifier(
                params, splits["train"], splits["val"], vocabulary, None, CLASSES,
                group=group, on_epoch=on_epoch, resume=Path("state"),
            )  # fmt: skip
            if group.writes_files:
                Path(name).write_bytes(serialize(classifier.model.state_dict()))

    def start(name: str, of_rank: list[int], killed_after: int | None = None) -> list[Fork]:
        return machines(tmp_path, of_rank, partial(run, name, killed_after), name)

    return start


def test_ranks_anew_and_an_older_state_change_nothing(
    tmp_path: Path, train: Callable[..., list[Fork]]
) -> None:
    states = [tmp_path / host / "state" for host in ("host-0", "host-1")]
    assert statuses(train("undisturbed", [0, 1])) == [0, 0]
    expected = (tmp_path / "host-0/undisturbed").read_bytes()
    for state in states:
        shutil.rmtree(state)
    assert all(statuses(train("killed", [0, 1], killed_after=1)))
    older = (states[0] / FILE).read_bytes()
    assert all(statuses(train("killed", [0, 1], killed_after=2)))
    (states[0] / FILE).write_bytes(older)
    processes = train("resumed", [1, 0])
    assert statuses(processes) == [0, 0], processes[0].printed
    assert printed(processes, "resuming after epoch 2 of 3\n") == [0]
    assert printed(processes, "epoch   3") == [0]
    for host in ("host-0", "host-1"):
        assert (tmp_path / host / "resumed").read_bytes() == expected, host


@pytest.mark.parametrize(
    ("epochs", "source"),
    [
        ({0: 2, 1: 3}, 1), ({1: 3}, 1), ({0: -3, 1: 1}, 1), ({0: 3, 1: 2}, 0), ({0: 3}, 0),
        ({0: 0, 1: 0}, 0), ({1: 0}, 1), ({0: -3}, None), ({}, None),
    ],
)  # fmt: skip
def test_the_furthest_machine_has_the_state_for_all(
    tmp_path: Path, epochs: dict[int, int], source: int | None
) -> None:
    """epochs: of each machine's state; negative in a damaged one."""
    for machine, count in epochs.items():
        folder = tmp_path / f"host-{machine}/state"
        folder.mkdir(parents=True)
        Progress(folder, {"seed": 1}).save({"epochs": [0] * abs(count), "of": machine})
        if count < 0:
            (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-9])

    def load() -> None:
        with process_group(1, CPU) as group:
            state = Progress(Path("state"), {"seed": 1}, group).load()
            assert (None if state is None else state["of"]) == source

    processes = machines(tmp_path, [0, 0, 1], load)
    assert statuses(processes) == [0, 0, 0], [process.printed for process in processes]
    taken = "state/progress.safetensors: taken from host-1, which is the furthest\n"
    assert printed(processes, taken) == ([0] if source == 1 else [])
    damaged = source is None and epochs
    assert printed(processes, "damaged, starting anew") == ([0] if damaged else [])
