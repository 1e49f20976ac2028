"""A space file is checked as a whole before any trial runs."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from arxiv_hybrid.commands.search import EXCLUDED
from arxiv_hybrid.params import parse
from arxiv_hybrid.search.space import Space, override, read_settings, read_space, used_values
from arxiv_hybrid.system.errors import UserError


def space_of(text: str, params: dict[str, Any], folder: Path) -> Space:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return read_space(path, params, partial(parse, where="space.yaml"), EXCLUDED)


def test_ranges_and_lists(default_content: dict[str, Any], tmp_path: Path) -> None:
    text = """
dropout: {low: 0.2, high: 0.7}
learning_rate: {low: 0.0003, high: 0.003, log: true}
gradient_clip: {low: 1, high: 5}
epochs: {low: 6, high: 12}
architecture.lstm_hidden: {low: 32, high: 129, step: 32}
batch_size: [auto, 64]
embeddings: [pretrained, random]
"""
    space = space_of(text, default_content, tmp_path)
    assert space == {
        "dropout": FloatDistribution(0.2, 0.7),
        "learning_rate": FloatDistribution(0.0003, 0.003, log=True),
        "gradient_clip": FloatDistribution(1.0, 5.0),  # it may be a fraction
        "epochs": IntDistribution(6, 12),
        "architecture.lstm_hidden": IntDistribution(32, 128, step=32),
        "batch_size": CategoricalDistribution(["auto", 64]),
        "embeddings": CategoricalDistribution(["pretrained", "random"]),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected parameters with ranges"),
        ("dropuot: [0.2, 0.3]", "dropuot: unknown parameter; is dropout meant?"),
        ("architecture.x: [1, 2]", "architecture.x: unknown parameter"),
        ("vocab: {low: 1, high: 2}", "vocab: not one parameter; name one of vocab.max_size, "),
        ("dropout: {low: 0.2, high: 1.5}", "space.yaml: dropout: 1.5 is not allowed"),
        ("dropout: {low: 0.7, high: 0.2}", "low 0.7 must be below high 0.2"),
        ("dropout: {low: 0.2}", "high: missing"),
        ("dropout: {low: 0.2, high: 0.4, steps: 0.1}", "steps: unknown key"),
        ("dropout: {low: 0.2, high: 0.4, step: 0.5}", "step 0.5 must be positive, and at most"),
        ("dropout: {low: 0, high: 0.4, log: true}", "log: true needs a positive low"),
        ("dropout: {low: 0.1, high: 0.4, log: maybe}", "log: 'maybe' is not allowed"),
        ("dropout: {low: true, high: 0.4}", "low: True is not allowed"),
        ("dropout: {low: 0.1, high: .inf}", "high: inf is not allowed"),
        ("dropout: 0.3", "dropout: 0.3 is no range; write {low: 0.1, high: 0.5}"),
        ("dropout: [0.3]", "a list needs at least two values"),
        ("dropout: [0.3, 0.3]", "a value appears twice"),
        ("dropout: [0.3, 7]", "space.yaml: dropout: 7 is not allowed"),
        ("class_weights: [none, [1, 2, 3]]", "[1, 2, 3] is not allowed: the values of a list"),
        ("architecture.lstm_hidden: {low: 64, high: 66}", "lstm_hidden: 65 is not allowed"),
        ("epochs: {low: 6, high: 9.5}", "epochs: 9.5 is not allowed"),
        ("split.seed: [1, 2]", "cannot be searched: trials would be compared on different papers"),
        ("ensemble.tta: [0, 2]", "cannot be searched: it does not change the validation score"),
        ("ensemble.members: [0, 2]", "ensemble.members: not one parameter"),
    ],
)
def test_what_no_trial_could_run_with_is_refused(
    default_content: dict[str, Any], tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        space_of(text, default_content, tmp_path)
    assert "space.yaml" in str(refused.value)


def test_the_model_that_the_settings_choose_decides(
    default_content: dict[str, Any], tmp_path: Path
) -> None:
    params = read_settings(["model=v6", "pretrained=null"], default_content)
    with pytest.raises(UserError, match="v6 has no LSTM"):
        space_of("architecture.lstm_hidden: [64, 128]", params, tmp_path)
    assert space_of("architecture.num_filters: [64, 128]", params, tmp_path)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("dropout", "-S dropout: expected PARAMETER=VALUE"),
        ("drop=1", "-S drop: unknown parameter"),
        ("fetch=1", "-S fetch: not one parameter; name one of fetch.source"),
        ("labels.classes=[cs.RO", "-S labels.classes: not valid YAML"),
    ],
)
def test_malformed_settings(default_content: dict[str, Any], argument: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_settings([argument], default_content)


def test_settings_change_the_parameters(default_content: dict[str, Any]) -> None:
    arguments = ["dropout=0.3", "labels.classes=[cs.RO, cs.CR]"]
    params = read_settings(arguments, default_content)
    assert params["dropout"] == 0.3
    assert params["labels"] == {**default_content["labels"], "classes": ["cs.RO", "cs.CR"]}
    assert default_content["dropout"] == "auto"


def test_numbers_have_few_digits_and_stay_in_range() -> None:
    space: Space = {"a": FloatDistribution(0.123449, 0.7), "b": FloatDistribution(0, 1, step=0.25),
                    "c": IntDistribution(1, 99999)}  # fmt: skip
    drawn = {"a": 0.1234491, "b": 0.75, "c": 12345}
    assert used_values(space, drawn) == {"a": 0.123449, "b": 0.75, "c": 12345}
    assert used_values(space, {"a": 0.31234567}) == {"a": 0.3123}


def test_overrides_are_read_by_dvc_as_they_were_meant() -> None:
    from dvc.utils.hydra import to_hydra_overrides

    values = {"a": None, "b": True, "c": 0.00031, "d": 1e-7, "e": "none", "f": "it's, a [path] x",
              "g": 64, "h": "data/vectors.txt"}  # fmt: skip
    overrides = to_hydra_overrides([override(key, value) for key, value in values.items()])
    read = {each.key_or_group: each.value() for each in overrides}
    assert {key: getattr(value, "text", value) for key, value in read.items()} == values
