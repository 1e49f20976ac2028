"""`python -m arxiv_hybrid predict` for many classes, several of which may apply."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from linear_models import linear_model

from arxiv_hybrid import paths
from arxiv_hybrid.__main__ import main
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models import registry
from arxiv_hybrid.text.vocabulary import Vocabulary

WORDS = Vocabulary(("<PAD>", "<UNK>", "deep", "learning", "words"))
ONE = ["predict", "--title", "Deep learning", "--abstract", "words words deep"]
LIKELY = {"c007": 0.9, "c003": 0.6, "c100": 0.3, "c050": 0.2, "c051": 0.1}


def save(folder: Path, classes: int, probabilities: dict[str, float]) -> Path:
    """A multi-label model that gives every paper these probabilities, and 1 % to the others."""
    torch.manual_seed(0)
    names = [f"c{number:03}" for number in range(classes)]
    arguments = {"vocab_size": len(WORDS), "embed_dim": 8, "num_classes": classes,
                 "num_filters": 4, "lstm_hidden": 4}  # fmt: skip
    p = np.array([probabilities.get(name, 0.01) for name in names])
    config = checkpoint.ModelConfig(
        "v1", arguments, names, 30, 300, 1e6, multi_label=True,
        biases=np.log(p / (1 - p)).tolist(), thresholds=[0.5] * classes,
        titles={names[7]: "Seventh Field", names[3]: "Third Field"},
    )  # fmt: skip
    checkpoint.save(folder, registry.build("v1", **arguments), WORDS, config)
    return folder


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return save(tmp_path / "many", 150, LIKELY)


def test_the_likely_classes_are_shown_with_their_names(
    many: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ONE, "--model", str(many)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("c007  Seventh Field  90.0% ####")
    assert lines[1].startswith("c003  Third Field    60.0% ####")
    assert lines[2].startswith("c100                 30.0% ####")
    assert [line.split()[0] for line in lines[:5]] == list(LIKELY)
    assert lines[5] == "145 more, each at most 1.0%"
    assert lines[6] == "categories: c007, c003"
    assert len([line for line in lines if "unsure" in line]) == 0


def test_json_has_the_assigned_and_the_likely_classes(
    many: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ONE, "--model", str(many), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["category"] == "c007"
    assert result["categories"] == ["c007", "c003"]
    assert result["probabilities"] == pytest.approx(LIKELY, abs=1e-4)
    assert (result["sure"], result["doubts"]) == (True, [])


@pytest.mark.parametrize(
    ("probabilities", "shown"),
    [
        ({}, 3),
        ({"c001": 0.9}, 3),
        ({f"c{number:03}": 0.06 for number in range(4)}, 4),
        ({f"c{number:03}": 0.4 for number in range(40)}, 8),
    ],
)
def test_at_least_three_and_at_most_eight_classes_are_shown(
    probabilities: dict[str, float], shown: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save(tmp_path / "model", 150, probabilities)
    assert main([*ONE, "--model", str(folder), "--sure", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[shown].startswith(f"{150 - shown} more")


def test_an_assigned_class_is_shown_however_small_its_probability(
    many: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = checkpoint.load(many)
    thresholds = [0.5] * 150
    thresholds[140] = 0.005
    config = replace(classifier.config, thresholds=thresholds)
    checkpoint.save(many, classifier.model, WORDS, config)
    assert main([*ONE, "--model", str(many)]) == 0
    out = capsys.readouterr().out
    assert "categories: c007, c003, c140" in out
    assert [line.split()[0] for line in out.splitlines()[:6]] == [*LIKELY, "c140"]


def test_all_of_a_few_classes_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "model", 8, {"c001": 0.9})
    assert main([*ONE, "--model", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[8] == "categories: c001"


def test_a_paper_unlike_the_training_papers_is_unsure(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = checkpoint.load(many)
    known = Familiarity(
        idf=np.ones(5, np.float32), means=np.full((5, 150), 0.4, np.float32), unknown=3.0,
        curve=np.array([[4], [0.5], [0.1]], np.float32), threshold=0.0,
    )  # fmt: skip
    replace(classifier, familiarity=known).save(many)
    strange = ["predict", "--title", "asdf qwer", "--abstract", "deep yxcv uiop words deep"]
    given = ["--model", str(many)]
    assert main([*ONE, *given]) == 0
    assert "unsure" not in capsys.readouterr().out
    assert main([*strange, *given]) == 0
    assert "unsure: unlike the papers it was trained on" in capsys.readouterr().out
    assert main([*strange, *given, "--sure", "0.95", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sure"] is False
    assert result["doubts"] == ["unlike the papers it was trained on", "below 95%"]

    papers = pd.DataFrame([("Deep learning", "words deep"), ("asdf", "qwer")],
                          columns=["title", "abstract"])  # fmt: skip
    papers.to_csv(tmp_path / "in.csv", index=False)
    for name in ("out.csv", "out.jsonl"):
        files = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / name)]
        assert main(["predict", *files, *given]) == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.columns[:4].tolist() == ["category", "categories", "unsure", "c000"]
    assert table["unsure"].tolist() == [False, True]
    assert table["categories"].tolist() == ["c007;c003"] * 2
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["unsure"] for row in rows] == [False, True]
    assert rows[0]["categories"] == ["c007", "c003"]
    assert len(rows[0]["probabilities"]) == 150
    assert classifier.classify(papers.head(0)).columns.tolist() == table.columns.tolist()


REAL = Origin({"a.csv": 9316}, 9316, "2024-01", "2025-11", "2026-02-03")
GENERATED = Origin({"synthetic": 1440}, 1440, "2025-01", "2025-12")


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (REAL, "trained on 9,316 papers of a.csv, 2024-01 to 2025-11; on 2026-02-03"),
        (GENERATED, "trained on 1,440 generated papers, so its answers mean nothing for real ones"),
        (None, "saved without a record of its papers"),
    ],
)
def test_the_model_says_where_it_comes_from_and_which_words_it_knows(
    origin: Origin | None, line: str, many: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    replace(checkpoint.load(many), origin=origin).save(many)
    given = ["--title", "Deep learning", "--abstract", "deep thoughts on words, and DEEP ones"]
    assert main(["predict", *given, "--model", str(many)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["knows 5 of 9 words", f"model: many, v1 with 150 classes, {line}"]
    assert main(["predict", *given, "--model", str(many), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == f"model: many, v1 with 150 classes, {line}"
    assert (result["known_words"], result["read_words"]) == (5, 9)
    pd.DataFrame([("deep", "words")], columns=["title", "abstract"]).to_csv(
        tmp_path / "in.csv", index=False
    )
    files = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", *files, "--model", str(many)]) == 0
    output = capsys.readouterr()
    assert output.out == f"1 paper -> {tmp_path}/out.csv\n"
    assert output.err == f"model: many, v1 with 150 classes, {line}\n"


@pytest.mark.parametrize("shipped", [True, False])
def test_the_shipped_model_answers_unless_another_one_is_named(
    shipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save(tmp_path / "models/main", 8, {"c001": 0.9})
    package = save(tmp_path / "package/shipped", 9, {"c002": 0.9}).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "files", lambda _: package)
    monkeypatch.setattr(paths, "is_shipped", lambda: shipped)
    assert main(ONE) == 0
    expected = "shipped, v1 with 9" if shipped else "main, v1 with 8"
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"model: {expected} classes")
    assert main([*ONE, "--model", "models/main"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("model: main, v1 with 8 classes")


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_linear_model_answers(
    multi_label: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "baseline"
    linear_model(seed=2, multi_label=multi_label).save(folder)
    assert main([*ONE, "--model", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[:2]} == {"cs.CV", "cs.CL"}
    assert lines[-2] == "knows 5 of 5 words"
    assert lines[-1].startswith("model: baseline, linear model with 2 classes, trained on 32 pap")
    assert any(line.startswith("without the word: ") for line in lines)

    papers = pd.DataFrame({"id": ["7", "8"], "title": ["deep", ""], "abstract": "words speech"})
    papers.to_csv(tmp_path / "papers.csv", index=False)
    files = ["--input", str(tmp_path / "papers.csv"), "--output", str(tmp_path / "out.jsonl")]
    assert main(["predict", *files, "--model", str(folder)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["7", "8"]
    expected = checkpoint.load(folder).classify(papers)
    assert [row["category"] for row in rows] == expected["category"].tolist()
    assert rows[0]["probabilities"]["cs.CL"] == pytest.approx(expected["cs.CL"][0], abs=1e-6)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["explain", "--title", "deep"], "has no attention to explain; `predict` names the words"),
        (["similar", "--title", "deep", "--input", "papers.csv"], "has no vectors of papers; use"),
        (["embed", "--input", "papers.csv"], "has no vectors of papers; use the shipped model"),
    ],
)
def test_what_a_linear_model_cannot_do_is_one_line(
    command: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    linear_model().save(tmp_path / "baseline")
    (tmp_path / "papers.csv").write_text("title,abstract\ndeep,words\n")
    output = [] if command[0] == "similar" else ["--output", "out.npy"]
    assert main([*command, "--model", "baseline", *output]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: a linear model {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out.npy").exists()


# what one prediction does without, a tenth of a second or more each
HEAVY = (
    "dvc", "jinja2", "lxml", "matplotlib", "mlflow", "numba", "pandera", "pydantic", "requests",
    "scipy", "sklearn", "sympy", "torch._dynamo", "torch._inductor", "torch.distributed.nn",
)  # fmt: skip
ONE_PREDICTION = """
import gc, sys
from arxiv_hybrid.__main__ import command
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info["generation"]))
sys.argv = ["arxiv-hybrid", *sys.argv[1:]]
print(command())
print([name for name in {heavy} if name in sys.modules])
print(collections.count(2), gc.get_freeze_count() > 0)
"""


def test_one_prediction_loads_only_what_it_needs(many: Path) -> None:
    code = ONE_PREDICTION.format(heavy=HEAVY)
    command = [sys.executable, "-c", code, *ONE, "--model", str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, loaded, collections = done.stdout.splitlines()[-3:]
    assert (status, loaded) == ("0", "[]")
    assert collections == "0 True", "none while libraries are loaded, none at exit"
