"""A damaged model folder is refused; it never answers as another model would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from damaged_models import (
    Damage,
    compact_damages,
    edited,
    linear_damages,
    model_damages,
    resealed,
    save,
)
from linear_models import linear_model

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import CONFIG, FAMILIARITY
from arxiv_hybrid.models import registry
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError

PAPERS = pd.DataFrame({"title": ["deep learning", "words"], "abstract": ["words words", "deep x"]})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and another one of the same shape."""
    root = tmp_path_factory.mktemp("models")
    save(root / "model", 0, ("deep", "learning", "words", "x"))
    save(root / "other", 1, ("learning", "deep", "words", "y"))
    return root / "model", root / "other"


def test_no_damaged_folder_answers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert damaged_that_answer(*folders, model_damages, tmp_path) >= 150


def test_no_damaged_compact_folder_answers(tmp_path: Path) -> None:
    save(tmp_path / "model", 0, ("deep", "learning", "words", "x"), compact=True)
    save(tmp_path / "other", 1, ("learning", "deep", "words", "y"), compact=True)
    folders = tmp_path / "model", tmp_path / "other"
    assert damaged_that_answer(*folders, compact_damages, tmp_path) >= 90


def test_no_damaged_linear_folder_answers(tmp_path: Path) -> None:
    for seed, name in enumerate(("model", "other")):
        words = ("deep", "learning", "of", "speech", ("words", "texts")[seed])
        model = linear_model(seed=seed, words=words, classes=("a", "b", "c"), multi_label=True)
        model.save(tmp_path / name)
    folders = tmp_path / "model", tmp_path / "other"
    assert damaged_that_answer(*folders, linear_damages, tmp_path) >= 180


def damaged_that_answer(
    sound: Path, other: Path, damages: Callable[[Path], Iterator[Damage]], tmp_path: Path
) -> int:
    """How many damages were tried; each must be refused, in a line that names the folder."""
    outcomes: dict[str, str] = {}
    expected = checkpoint.load(sound).classify(PAPERS)
    for name, damage in damages(other):
        folder = tmp_path / "damaged"
        shutil.copytree(sound, folder)
        damage(folder)
        try:
            answer = checkpoint.load(folder).classify(PAPERS)
        except UserError as error:
            outcomes[name] = "refused" if str(folder) in str(error) else f"without folder: {error}"
        else:
            outcomes[name] = "the same" if answer.equals(expected) else "another answer"
        shutil.rmtree(folder)
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "refused"} == {}
    return len(outcomes)


@pytest.mark.parametrize(
    "change", [{"temperature": float("nan")}, {"classes": ["a", "a", "c"]}, {"unheard": 1}]
)
def test_the_command_says_what_is_wrong_in_one_line(
    change: dict[str, object], folders: tuple[Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(folders[0], tmp_path / "model")
    resealed(edited(change))(tmp_path / "model")
    paper = ["--title", "deep", "--abstract", "words"]
    assert main(["predict", *paper, "--model", str(tmp_path / "model")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: {tmp_path}/model: not a sound model: ")
    assert (output.err.count("\n"), output.out) == (1, "")


def test_a_model_without_digests_is_loaded_and_says_so(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = checkpoint.load(folders[0]).classify(PAPERS)
    shutil.copytree(folders[0], tmp_path / "model")
    change = edited({digests.KEY: None})
    change(tmp_path / "model")
    config = tmp_path / "model" / CONFIG
    config.write_text(config.read_text().replace('"sha256": null,', ""))
    pd.testing.assert_frame_equal(checkpoint.load(tmp_path / "model").classify(PAPERS), expected)
    error = capsys.readouterr().err
    assert "model: written by an older version, without digests" in error
    assert error.count("\n") == 1
    (tmp_path / "model" / FAMILIARITY).write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a sound model"):
        checkpoint.load(tmp_path / "model")


def test_weights_that_overflow_do_not_answer(folders: tuple[Path, Path]) -> None:
    classifier = checkpoint.load(folders[0])
    with torch.no_grad():
        classifier.model.head[-1].weight.fill_(3e38)  # type: ignore[index]
    for ask in (classifier.classify, classifier.probabilities):
        with pytest.raises(UserError, match="computes values that are not finite"):
            ask(PAPERS)


@pytest.mark.parametrize(("link", "bias"), [("sigmoid", -3e38), ("softmax", np.inf)])
def test_linear_weights_that_overflow_do_not_answer(link: str, bias: float) -> None:
    model = linear_model(link=link)
    weights = replace(model.weights, biases=np.full(2, bias, np.float32))
    with pytest.raises(UserError, match="computes values that are not finite"):
        replace(model, weights=weights).classify(PAPERS)


def test_a_model_that_cannot_be_built_without_memory_is_loaded(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(registry.MODELS["v1"]):  # type: ignore[misc]
        def __init__(self, **arguments: object) -> None:
            super().__init__(**arguments)
            self.scale = float(torch.ones(1))  # fails on torch's meta device

    expected = checkpoint.load(folders[0]).classify(PAPERS)
    monkeypatch.setitem(registry.MODELS, "v1", Own)
    loaded = checkpoint.load(folders[0])
    assert isinstance(loaded.model, Own)
    pd.testing.assert_frame_equal(loaded.classify(PAPERS), expected)


def test_a_model_with_tensors_that_are_not_saved_is_loaded(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(registry.MODELS["v1"]):  # type: ignore[misc]
        def __init__(self, **arguments: object) -> None:
            super().__init__(**arguments)
            self.factors = torch.ones(3)  # has no values on the meta device

        def forward(self, *texts: torch.Tensor) -> tuple[torch.Tensor, object]:
            logits, maps = super().forward(*texts)
            return logits * self.factors, maps

    class Buffered(Own):  # type: ignore[valid-type, misc]
        def __init__(self, **arguments: object) -> None:
            super().__init__(**arguments)
            del self.factors
            self.register_buffer("factors", torch.ones(3), persistent=False)

    expected = checkpoint.load(folders[0]).classify(PAPERS)
    for kind in (Own, Buffered):
        monkeypatch.setitem(registry.MODELS, "v1", kind)
        pd.testing.assert_frame_equal(checkpoint.load(folders[0]).classify(PAPERS), expected)


def test_loading_imports_no_compiler(folders: tuple[Path, Path]) -> None:
    """torch imports it, which takes a second, if random weights are drawn without memory."""
    code = (
        "import sys\nfrom arxiv_hybrid.inference import checkpoint\n"
        "model = checkpoint.load(sys.argv[1]).model\n"
        "print('torch._dynamo' in sys.modules, all(p.requires_grad for p in model.parameters()))"
    )
    command = [sys.executable, "-c", code, str(folders[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
