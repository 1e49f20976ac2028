from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import DEFAULTS, ROOT, merged

from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, for_member, load, parse, to_yaml, values_in_force
from arxiv_hybrid.system import shipped
from arxiv_hybrid.system.errors import UserError


def write(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "path",
    ["params.yaml", "pretraining/params.yaml", "examples/next_word/params.yaml",
     "examples/time_series/params.yaml"],
)  # fmt: skip
def test_the_copies_that_tests_read_have_the_keys_of_the_pipelines(path: str) -> None:
    """Values may differ: a user changes those of the pipelines, also through DVC."""

    def keys(content: Any, default: Any) -> Any:
        if not (isinstance(content, dict) and isinstance(default, dict)):
            return None
        return {key: keys(content[key], default.get(key)) for key in content}

    shipped, used = (yaml.safe_load((folder / path).read_text()) for folder in (DEFAULTS, ROOT))
    assert keys(used, shipped) == keys(shipped, used), f"copy the changed keys to {DEFAULTS / path}"


def test_no_test_reads_what_a_run_of_the_user_changes() -> None:
    """`make test` must pass whatever parameters and results the workspace holds."""
    changed = re.compile(
        r'ROOT\s*/\s*f?"(?:(?:pretraining/|examples/\w+/)?(?:params[.\w]*\.yaml|dvc\.lock|metrics\b)'
        r"|params|reports|models|data/(?!README))"
    )
    for path in (ROOT / "tests").rglob("*.py"):
        assert not changed.search(path.read_text(encoding="utf-8")), path


def test_shipped_params_are_valid_and_the_documented_sweep_changes_something() -> None:
    params = load(DEFAULTS / "params.yaml")
    assert params.dropout == 0.5
    assert params.labels.from_ == "primary"
    assert params.split.by == "paper"


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"dropout": 1.5}, ["dropout", "1.5", "less than or equal to 0.99"]),
        ({"model": "v9"}, ["model", "v9", "v1"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"learning_rate": -0.1}, ["learning_rate", "-0.1", "greater than 0"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "nan"]),
        ({"drpout": 0.5}, ["drpout", "unknown key"]),
        ({"split": {"seeed": 1}}, ["split.seeed", "unknown key"]),
        ({"labels": {"classes": 5}}, ["labels.classes", "5"]),
        ({"labels": {"classes": "physics"}}, ["labels.classes", "physics", "'archives'"]),
        ({"labels": {"classes": ["cs.RO", "cs.XX"]}}, ["labels.classes", "'cs.XX' is not a cat"]),
        ({"labels": {"classes": ["cs.RO"]}}, ["labels.classes", "at least two classes"]),
        ({"labels": {"classes": ["cs.RO", "other"]}}, ["labels.classes", "'other' is not a cat"]),
        ({"labels": {"classes": ["cs", "cs.AI"]}}, ["cs.AI is in two classes, cs and cs.AI"]),
        ({"labels": {"classes": {"a": ["cs.SY"], "b": ["eess.SY"]}}}, ["eess.SY is in two"]),
        ({"labels": {"from": "column", "classes": "all"}}, ["labels", "auto (every value)"]),
        ({"labels": {"separator": ";"}}, ["labels", "separator needs from: column"]),
        ({"labels": {"scheme": "query"}}, ["labels.scheme", "now labels.from", "remove one"]),
        ({"loss": "asymmetric"}, ["asymmetric", "labels.from: listed"]),
        ({"fetch": {"categories": ["maths"]}}, ["fetch.categories", "'maths' is not a category"]),
        ({"fetch": {"columns": {"titel": "x"}}}, ["fetch.columns.titel", "unknown key"]),
        ({"split": {"val": "2017-01", "test": 0.1}}, ["split", "two months such as 2017-01"]),
        ({"split": {"val": "2017-01", "test": "2017-02"}}, ["split", "by: time"]),
        (
            {"split": {"val": "2017-02", "test": "2017-01", "by": "time"}},
            ["split", "must be before"],
        ),
        ({"class_weights": [1.0, 2.0]}, ["class_weights", "2", "3 classes"]),
        ({"class_weights": [1.0, 2.0, -1.0]}, ["class_weights", "positive"]),
        ({"fetch": {"source": "csv", "path": None}}, ["fetch", "fetch.path"]),
        ({"architecture": {"lstm_hidden": 75}}, ["lstm_hidden", "75", "multiple of 2"]),
        ({"model": "v4", "architecture": {"lstm_hidden": 6}}, ["lstm_hidden", "multiple of 4"]),
        ({"model": "cnn_lstm", "architecture": {"gates": False}}, ["architecture.gates", "v1"]),
        ({"architecture": {"title_group": 2}}, ["architecture.title_group", "only v5"]),
        ({"architecture": {"char_init_std": 0.1}}, ["architecture.char_init_std", "only v4"]),
        (
            {"model": "v4", "architecture": {"char_init_std": 0}},
            ["architecture.char_init_std: 0", "greater than 0"],
        ),
        ({"class_weights": {"cs.AL": 2.0}}, ["class_weights", "cs.AL is not a class", "cs.AI"]),
        ({"class_weights": {"cs.CL": 0}}, ["class_weights", "positive"]),
        ({"class_weights": {"cs.CL": "x"}}, ["class_weights.cs.CL", "'x'", "a valid number"]),
        ({"class_weights": [1, "x", 2]}, ["class_weights.1", "'x'", "a valid number"]),
        ({"class_weights": 2.0}, ["class_weights: 2.0", "'balanced', or a valid list"]),
        ({"fetch": {"since": date(2025, 11, 17)}}, ["fetch.since", "2025-11-17, in quotes"]),
        ({"dropout": 0.999}, ["dropout", "0.99"]),
        ({"fetch": {"contact": "a@b.org\r\nX: y"}}, ["fetch.contact", "should match pattern"]),
        ({"fetch": {"contact": "Zoë"}}, ["fetch.contact", "should match pattern"]),
        ({"fetch": {"contact": "x" * 101}}, ["fetch.contact", "should match pattern"]),
        ({"model": "v" * 10**5}, ["model: 'vvvv", "vvv' is not allowed"]),
        ({"labels": {"classes": ["x" * 10**5, "cs.AI"]}}, ["labels.classes: ['xxx", "...xxx"]),
        ({"fetch": {"categories": ["y" * 10**5]}}, ["fetch.categories", "is not a category"]),
        ({"recipe": "own"}, ["recipe", "own", "published"]),
        ({"seed": "auto"}, ["seed", "auto"]),
        ({"split": {"seed": 2**32}}, ["split.seed", "4294967296"]),
        ({"device": "tpu"}, ["device", "tpu"]),
        ({"split": {"val": 0.45, "test": 0.49}}, ["split.val", "10 %"]),
        ({"ensemble": {"members": [{"name": "a"}, {"name": "a"}]}}, ["members", "differ"]),
        ({"ensemble": {"members": [{"name": "linear"}]}}, ["members", "linear", "another voter"]),
        ({"ensemble": {"members": [{"name": "../x"}]}}, ["ensemble.members.0.name", "../x"]),
        ({"ensemble": {"members": [{"name": "a", "dropuot": 1}]}}, ["members[a]", "dropuot"]),
        ({"ensemble": {"members": [{"name": "a", "fetch": {}}]}}, ["fetch", "shared"]),
    ],
)
def test_impossible_values_give_one_line_with_key_and_value(
    tmp_path: Path, default_content: dict[str, Any], change: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, merged(default_content, change)))
    message = str(caught.value)
    assert "\n" not in message
    for fragment in [*fragments, "params.yaml"]:
        assert fragment in message


def test_a_missing_key_is_named(tmp_path: Path, default_content: dict[str, Any]) -> None:
    content = {key: value for key, value in default_content.items() if key != "seed"}
    with pytest.raises(UserError, match="seed: missing"):
        load(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "expected keys and values"),
        ("seed: 1\nseed: 2", "appears twice, again in line 2"),
        ("seed: {{x}}", "a key in line 1 is not a name"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load(path)


def test_missing_file_and_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load(tmp_path / "params.yaml")


def test_members_inherit_and_override(tiny_content: dict[str, Any]) -> None:
    members = [{"name": "a", "seed": 7, "dropout": 0.1, "architecture": {"lstm_hidden": 4}}]
    params = parse(merged(tiny_content, {"ensemble": {"members": members}}), "p")
    member = for_member(params, "a")
    assert (member.seed, member.dropout, member.epochs) == (7, 0.1, params.epochs)
    assert member.architecture.lstm_hidden == 4
    assert member.architecture.num_filters == params.architecture.num_filters
    with pytest.raises(UserError, match="no 'b'; it has a"):
        for_member(params, "b")


@pytest.mark.parametrize("name", ["ours", "published"])
@pytest.mark.parametrize("model", ["baseline", "v1", "v2", "v3", "v4", "v5", "v6", "cnn_lstm"])
def test_every_model_has_both_recipes(default_content: dict[str, Any], name: str, model: str):
    params = parse({**default_content, "recipe": name, "model": model}, "p")
    assert params.loss == ("focal" if model == "v2" else "cross_entropy")
    scratch = {"ours": "random", "published": "wide"}[name]
    assert params.embeddings == (scratch if model in ("baseline", "v2") else "pretrained")
    assert params.patience <= params.epochs or name == "ours"
    architecture = params.architecture.given()
    std = {"ours": 0.1, "published": 1.0}[name] if model == "v4" else None
    assert architecture.get("char_init_std") == std
    assert set(architecture) >= {"num_filters"} | (set() if model == "v6" else {"lstm_hidden"})
    in_force, default = (registry.build(model, vocab_size=9, **a) for a in (architecture, {}))
    shapes = [{n: v.shape for n, v in m.state_dict().items()} for m in (in_force, default)]
    assert shapes[0] == shapes[1], "recipes.yaml repeats the constructor's defaults"


def test_published_recipes_are_those_of_the_table(default_content: dict[str, Any]) -> None:
    def published(model: str, **changes: Any) -> Params:
        return parse(
            merged(default_content, {"recipe": "published", "model": model, **changes}), "p"
        )

    v1 = published("v1")
    assert (v1.epochs, v1.patience, v1.dropout, v1.batch_size) == (30, 7, 0.6, 64)
    assert (v1.learning_rate, v1.weight_decay, v1.label_smoothing) == (1e-3, 1e-3, 0.1)
    assert (v1.optimizer, v1.scheduler, v1.class_weights) == (
        "adamw",
        "plateau",
        {"cs.CL": 2.0, "cs.CV": 1.8},
    )
    assert (v1.augment.fraction, v1.augment.alpha) == (0.3, 0.1)
    v4 = published("v4")
    assert (v4.batch_size, v4.accumulate, v4.epochs, v4.scheduler) == (32, 4, 40, "warmup_cosine")
    assert (v4.label_smoothing, v4.mixup) == (0.15, 0.3)
    assert (v4.augment.fraction, v4.augment.alpha) == (0.5, 0.15)
    base = published("baseline")
    assert (base.optimizer, base.epochs, base.patience, base.dropout) == ("adam", 20, 5, 0.5)
    assert base.vocab.abstract_length == 200
    assert base.class_weights == {"cs.AI": 2.0}
    assert v4.class_weights == "none"
    assert published("cnn_lstm").class_weights == v1.class_weights
    assert published("v2").class_weights == {"cs.CL": 1.5, "cs.CV": 1.5}
    assert published("v3").class_weights == {"cs.CL": 1.8, "cs.CV": 1.6}
    assert published("v2", loss="cross_entropy", dropout=0.1).loss == "cross_entropy"


def test_members_share_the_main_models_augmented_papers(default_content: dict[str, Any]) -> None:
    members = [{"name": "a", "recipe": "published"}, {"name": "b", "model": "v4"}]
    content = merged(default_content, {"ensemble": {"members": members}, "augment": {"alpha": 0.2}})
    params = parse(content, "p")
    for name in "ab":
        assert for_member(params, name).augment == params.augment
    assert for_member(params, "a").dropout == 0.6


def test_a_member_has_the_recipe_of_its_own_model(default_content: dict[str, Any]) -> None:
    members = [{"name": "a", "model": "v2"}, {"name": "b", "model": "v2", "loss": "cross_entropy"}]
    params = parse(merged(default_content, {"ensemble": {"members": members}}), "p")
    assert params.loss == "cross_entropy"
    assert for_member(params, "a").loss == "focal"
    assert for_member(params, "b").loss == "cross_entropy"
    assert for_member(params, "a").embeddings == "random"


def test_every_value_in_force_makes_stage_resolve_run_again() -> None:
    """A parameter that training reads but resolve does not track would change nothing."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    listed = pipeline["stages"]["resolve"]["params"]
    tracked = {key for key in listed if isinstance(key, str)}
    assert {"data/inputs.json": ["pretrained"]} in listed, "the shipped encoder may come or go"
    values = values_in_force(load(DEFAULTS / "params.yaml"))
    nested = {f"{key}.{name}" for key in ("glove", "vocab") for name in values["train"][key]}
    flat = set(values["train"]) - {"glove", "vocab"}
    assert tracked == flat | nested | {
        "recipe", "augment", "ensemble.members", "labels.from", "labels.separator",
        "fetch.source", "glove.source", "glove.extra_text",
    }  # fmt: skip


def test_values_in_force_are_those_that_training_gets(default_content: dict[str, Any]) -> None:
    params = parse({**default_content, "model": "v2"}, "p")
    values = values_in_force(params)
    assert values["train"]["epochs"] == params.epochs == 12
    assert values["train"]["loss"] == "focal"
    assert values["train"]["architecture"]["num_filters"] == 128
    assert values["members"]["seed-123"]["architecture"]["num_filters"] == 64
    assert values["augment"]["fraction"] == params.augment.fraction
    assert yaml.safe_load(to_yaml(values)) == values
    text = to_yaml(values)
    unresolved = {line.split(":")[0].strip() for line in text.splitlines() if line.endswith("auto")}
    assert unresolved == {"precision", "device", "batch_size"}, "what is decided at run time"


def test_a_pretrained_encoder_brings_its_own_widths(default_content: dict[str, Any]) -> None:
    params = parse({**default_content, "pretrained": "folder"}, "p")
    assert (params.model, params.epochs, params.starts_from_encoder) == ("v6", 4, True)
    assert params.architecture.given() == {}
    scratch = parse({**default_content, "model": "v6"}, "p")
    assert scratch.architecture.given() == {"num_filters": 160}
    assert not scratch.starts_from_encoder


@pytest.mark.parametrize("width", ["num_filters", "lstm_hidden", "title_group"])
def test_an_architecture_contradicts_an_encoder(
    default_content: dict[str, Any], width: str
) -> None:
    changes = {"model": "v6", "pretrained": "folder", "architecture": {width: 8}}
    with pytest.raises(UserError, match=f"architecture.{width}: the encoder of `pretrained` has"):
        parse(merged(default_content, changes), "p")


def test_v6_has_no_lstm(default_content: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"architecture\.lstm_hidden: v6 has no LSTM"):
        parse(merged(default_content, {"model": "v6", "architecture": {"lstm_hidden": 8}}), "p")


REAL = {"fetch": {"source": "csv", "path": "papers.csv"}}


def test_auto_is_v1_from_scratch_for_synthetic_papers(
    default_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "is_shipped", lambda: True)
    assert (default_content["model"], default_content["pretrained"]) == ("auto", "auto")
    explicit = parse({**default_content, "model": "v1", "pretrained": None}, "p")
    assert values_in_force(parse(default_content, "p")) == values_in_force(explicit)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("v6", shipped.FOLDER)),
        ({"model": "v6"}, ("v6", shipped.FOLDER)),
        ({"pretrained": None}, ("v1", None)),
        ({"pretrained": None, "model": "v6"}, ("v6", None)),
        ({"pretrained": "mine"}, ("v6", "mine")),
        ({"pretrained": "mine", "model": "v4"}, ("v4", "mine")),
        ({"pretrained": "mine", "recipe": "published"}, ("v1", "mine")),
        ({"model": "v1"}, ("v1", None)),
        ({"recipe": "published"}, ("v1", None)),
    ],
)
def test_auto_on_real_papers(
    default_content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    expected: tuple[str, str | None],
) -> None:
    monkeypatch.setattr(shipped, "is_shipped", lambda: True)
    params = parse(merged(default_content, {**REAL, **changes}), "p")
    assert (params.model, params.pretrained) == expected
    in_force = values_in_force(params)["train"]
    assert (in_force["model"], in_force["pretrained"]) == expected


def test_members_start_from_the_encoder_with_its_widths(
    default_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "is_shipped", lambda: True)
    small = {"num_filters": 64, "lstm_hidden": 64}
    members = [
        *default_content["ensemble"]["members"],
        {"name": "other", "model": "v1", "architecture": small},
        {"name": "plain", "seed": 1},
    ]
    params = parse(merged(default_content, {**REAL, "ensemble": {"members": members}}), "p")
    in_force = values_in_force(params)["members"]
    for name in ("seed-123", "seed-456", "plain"):
        assert (in_force[name]["model"], in_force[name]["architecture"]) == ("v6", {})
    assert in_force["seed-123"]["epochs"] == 4
    assert {member["pretrained"] for member in in_force.values()} == {shipped.FOLDER}
    assert (in_force["other"]["model"], in_force["other"]["epochs"]) == ("v1", 6)
    assert in_force["other"]["architecture"]["num_filters"] == 64


def test_a_member_of_a_run_without_the_encoder_has_none(
    default_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "is_shipped", lambda: True)
    changes = {**REAL, "model": "v1", "ensemble": {"members": [{"name": "six", "model": "v6"}]}}
    member = for_member(parse(merged(default_content, changes), "p"), "six")
    assert (member.model, member.pretrained) == ("v6", None), "the vocabulary is not the encoder's"


def with_labels(content: dict[str, Any], **labels: Any) -> Params:
    return parse(merged(content, {"labels": labels}), "params.yaml")


def test_the_old_key_of_the_label_scheme_is_still_read(default_content: dict[str, Any]) -> None:
    labels = {"scheme": "query", "classes": 4}
    old = parse({**default_content, "labels": labels}, "params.yaml")
    assert (old.labels.from_, old.labels.class_names) == (
        "query",
        ("cs.AI", "cs.CL", "cs.CV", "cs.LG"),
    )


def test_sources_look_for_the_categories_of_the_classes(default_content: dict[str, Any]) -> None:
    def wanted(**labels: Any) -> tuple[str, ...] | None:
        return with_labels(default_content, **labels).wanted_categories

    assert wanted() == ("cs.AI", "cs.LG", "cs.CL", "cs.CV")
    assert wanted(classes=["cs.RO", "cs.NA"]) == ("cs.RO", "math.NA")
    assert wanted(classes={"q": ["quant-ph"], "bio": ["q-bio.*"]})[:2] == ("quant-ph", "q-bio.BM")  # type: ignore[index]
    assert wanted(classes="all") is None
    assert wanted(outside="other") is None
    explicit = merged(default_content, {"fetch": {"categories": ["math.AG"]}})
    assert parse(explicit, "params.yaml").wanted_categories == ("math.AG",)


@pytest.mark.parametrize(
    ("classes", "papers"), [("auto", 3000), (4, 3000), (["cs.RO", "cs.CR"], None), ("all", None)]
)
def test_only_published_sets_take_a_fixed_number_of_papers(
    default_content: dict[str, Any], classes: Any, papers: int | None
) -> None:
    assert with_labels(default_content, classes=classes).per_category == papers


def test_small_classes_are_an_error_unless_a_preset_names_them(
    default_content: dict[str, Any],
) -> None:
    def left_out(**labels: Any) -> bool:
        return with_labels(default_content, **labels).labels.leaves_out_small_classes

    assert not left_out()
    assert not left_out(**{"from": "column"})
    assert left_out(classes="archives")
    assert not left_out(classes="archives", too_few="error")
    assert left_out(classes=["cs.RO", "cs.CR"], too_few="leave_out")
