"""YAML of users: the same values as DVC reads, and bounds on its size."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml  # what DVC reads params.yaml with
from conftest import DEFAULTS, ROOT

from arxiv_hybrid.params import load, load_section
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.params.yaml_text import read_yaml
from arxiv_hybrid.system.errors import UserError


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


VALUES = """
010 0o10 -010 +0o17 0x1F -0x1f 0b11 08 09 0o8 00 0_1 1_000 1__0 _1 1_ 7 -0 +1 1:30 190:20:30 1:30.5
yes no on off Yes NO On y n true True TRUE false tRue ~ null Null NULL nUll 1e3 1E5 12e03 1e-3 5e-4
1.5e-3 1. 1.e3 .5 -.5 .5e3 .5e+3 1_0.5 0.1_0 . .inf -.inf +.INF .nan .Inf1 1e5e 2025-11-17 0b
0x '010'
"010" 'yes' cs.LG 2511.00010
""".split()  # noqa: SIM905


@pytest.mark.parametrize("value", VALUES)
def test_values_are_those_that_dvc_reads(tmp_path: Path, value: str) -> None:
    for text in (f"a: {value}\n", f"a: [{value}]\n", f"{{a: {{b: {value}}}}}\n"):
        expected = ruamel.yaml.YAML(typ="safe").load(text)
        found = read(tmp_path, text)
        if value == ".nan":
            assert math.isnan(read(tmp_path, "a: .nan\n")["a"])
            continue
        assert found == expected
        assert repr(found) == repr(expected), "1 and 1.0 are equal, but not the same"


@pytest.mark.parametrize(
    "path",
    [DEFAULTS / "params.yaml", DEFAULTS / "pretraining/params.yaml", ROOT / "dvc.yaml"],
)
def test_files_of_this_repository_are_read_alike(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert read_yaml(path) == ruamel.yaml.YAML(typ="safe").load(text)


def test_merged_mappings_may_be_overridden(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"
    assert read(tmp_path, text)["b"] == {"x": 1, "y": 3}
    with pytest.raises(UserError, match="key 'y' appears twice, again in line 1"):
        read(tmp_path, "b: {y: 1, y: 2}\n")


def levels(first: str, level: str, count: int) -> str:
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {level.replace('*', f'*a{n - 1}')}" for n in range(1, count)]
    return "\n".join(lines) + "\n"


UNSOUND = {
    "a list of aliases": (levels("[x]", "[*,*,*,*,*,*,*,*]", 12), "more than 100,000 values"),
    "a mapping of aliases": (
        levels("{k: v}", "{a: *, b: *, c: *}", 30),
        "more than 100,000 values",
    ),
    "merged mappings": (levels("{k: v}", "{<<: [*, *]}", 40), "more than 100,000 values"),
    "a long text": (f"a: &a {'x' * 90_000}\nb: [{'*a,' * 2000}]", "more than 100,000 values"),
    "an endless list": ("a: &a [1, *a]", "an alias of line 1 refers to what contains it"),
    "an endless mapping": ("x: 1\na: &a\n  b: *a\n", "an alias of line 2 refers to what contains"),
    "many levels": ("a: " + "[" * 60 + "]" * 60, "nested more than 40 levels deep"),
    "more levels": ("[" * 20_000, "nested too deeply"),
    "5,000 digits": ("seed: " + "9" * 5000, "a number has more than 4,300 digits"),
    "a large file": ("# " + "x" * (300 << 10), "is larger than 256 KiB"),
    "no such day": ("fetch: {since: 2025-02-30}", "day is out of range"),
    "a wrong integer": ("seed: !!int x", "invalid literal"),
    "a wrong time": ("seed: !!timestamp x", "a value does not fit its tag"),
    "a wrong truth": ("seed: !!bool x", "a value does not fit its tag"),
    "an object": ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "two documents": ("a: 1\n---\nb: 2\n", "expected a single document"),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_unsound_yaml_is_one_short_line(tmp_path: Path, kind: str) -> None:
    text, message = UNSOUND[kind]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "params.yaml" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10, "KiB"


def test_values_are_not_printed_in_full(tmp_path: Path) -> None:
    """Messages quote values; those of aliases are large."""
    bomb = levels("[xxxxxxxxxx]", "[*,*,*,*,*,*]", 6)
    path = tmp_path / "params.yaml"
    for name in ("params.yaml", "pretraining/params.yaml"):
        text = (DEFAULTS / name).read_text(encoding="utf-8")
        key = "batch_size: auto" if name == "params.yaml" else "batch_size: 256"
        assert key in text
        path.write_text(bomb + text.replace(key, "batch_size: *a5"), encoding="utf-8")
        with pytest.raises(UserError) as caught:
            load(path) if name == "params.yaml" else load_section(path, PretrainingParams)
        assert len(str(caught.value)) < 500


def test_numbers_too_long_to_print_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (DEFAULTS / "params.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("seed: 42  ", f"seed: 0x{'f' * 5000} ", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"seed: a number of 20,000 bits is not allowed: input sho"):
        load(path)


@pytest.mark.parametrize(("seed", "value"), [("010", 10), ("0o10", 8), ("1e3", 1000)])
def test_a_seed_means_what_dvc_reads(tmp_path: Path, seed: str, value: int) -> None:
    text = (DEFAULTS / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("seed: 42  ", f"seed: {seed}  ", 1), encoding="utf-8")
    assert load(path).seed == value


@pytest.mark.parametrize(
    ("path", "override"),
    [
        ("params.yaml", "ensemble.members=[]"),
        ("params.yaml", "ensemble.members=[{name: a, seed: 3}]"),
        ("params.yaml", "labels.classes=[cs.RO,cs.CR]"),
        ("params.yaml", "fetch.columns={title: t, abstract: a, label: l}"),
        ("params.yaml", "class_weights={cs.CL: 2.0}"),
        ("pretraining/params.yaml", "texts=[a.json,b.json]"),
        ("pretraining/params.yaml", "kernel_sizes=[1]"),
        ("examples/next_word/params.yaml", "seed=3"),
    ],
)
def test_dvc_can_change_a_value_in_a_file_that_it_has_written(
    tmp_path: Path, path: str, override: str
) -> None:
    """A comment between a key and a list below it: DVC's second change made the file invalid."""
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    file.write_bytes((DEFAULTS / path).read_bytes())
    before = read_yaml(file)
    for change in ("seed=7", override, "seed=8"):
        apply_overrides(file, [change])
    name = override.partition("=")[0].partition(".")[0]
    after = read_yaml(file)
    assert after["seed"] == 8
    others = before.keys() - {"seed", name}
    assert {key: after[key] for key in others} == {key: before[key] for key in others}
