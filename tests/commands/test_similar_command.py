"""`python -m arxiv_hybrid similar` and `embed`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.inference import checkpoint, predict_file
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models import registry
from arxiv_hybrid.text.vocabulary import Vocabulary

WORDS = ("deep", "learning", "words", "speech", "graph", "proof", "of", "corpus", "a", "new")
PAPER = ["--title", "Deep learning", "--abstract", "a new corpus of words"]
ROWS = [
    ("1", "Graph proof", "proof of a graph"),
    ("2", "Deep learning", "a new corpus of words"),
    ("3", "", "a new corpus of words"),
    ("4", "unheard", "qwer asdf"),
    ("5", "Deep speech", "a corpus of\nspeech"),
]


def save(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    arguments = {"vocab_size": 2 + len(WORDS), "embed_dim": 8, "num_classes": 2, "num_filters": 4,
                 "hidden": 8}  # fmt: skip
    config = checkpoint.ModelConfig("v6", arguments, ["a", "b"], 30, 300)
    model = registry.build("v6", **arguments)
    words = Vocabulary(("<PAD>", "<UNK>", *WORDS))
    origin = Origin({"dump.json": 500}, 500, "2020-01", "2021-12", "2026-01-02")
    checkpoint.save(folder, model, words, config, origin=origin)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.csv"
    pd.DataFrame(ROWS, columns=["id", "title", "abstract"]).to_csv(path, index=False)
    return path


def run(command: str, model: Path, *arguments: object) -> int:
    return main([command, "--model", str(model), *map(str, arguments)])


Capture = pytest.CaptureFixture[str]


def test_the_same_text_comes_first(model: Path, library: Path, capsys: Capture) -> None:
    assert run("similar", model, "--input", library, *PAPER) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == " 1.000  2  Deep learning"
    assert len(lines) == 5
    assert lines[-1].split()[1] != "2"
    assert output.err == (
        "of 5 papers; knows 7 of 7 words; model: model, v6 with 2 classes, trained on 500 papers "
        "of dump.json, 2020-01 to 2021-12; on 2026-01-02\n"
    )


def test_json_has_all_that_people_see(model: Path, library: Path, capsys: Capture) -> None:
    assert run("similar", model, "--input", library, *PAPER, "--top", 2, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    first, second = result["similar"]
    assert first == {"id": "2", "row": 1, "title": "Deep learning",
                     "similarity": pytest.approx(1, abs=1e-5)}  # fmt: skip
    assert second["similarity"] < 1
    assert (result["papers"], result["skipped"]) == (5, 0)
    assert (result["known_words"], result["read_words"]) == (7, 7)
    assert result["model"].startswith("model: model, v6 with 2 classes, trained on 500 papers")


@pytest.mark.parametrize("chunk", [1, 2, 4096])
def test_stored_vectors_give_the_same_papers(
    chunk: int, model: Path, library: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    vectors = tmp_path / "vectors.npy"
    assert run("similar", model, "--input", library, *PAPER) == 0
    expected = capsys.readouterr()
    monkeypatch.setattr("arxiv_hybrid.commands.library.CHUNK", chunk)
    assert run("embed", model, "--input", library, "--output", vectors) == 0
    output = capsys.readouterr()
    assert output.out == f"5 papers -> {vectors}, 256 numbers each\n"
    assert "1 paper without a known word: vectors of zeros" in output.err
    assert run("similar", model, "--input", library, "--vectors", vectors, *PAPER) == 0
    assert capsys.readouterr() == expected
    array = np.load(vectors)
    assert (array.shape, array.dtype) == ((5, 256), np.float32)
    np.testing.assert_allclose(np.linalg.norm(array, axis=1), [1, 1, 1, 0, 1], atol=1e-5)


def test_the_same_papers_in_another_file_are_the_same_library(
    model: Path, library: Path, tmp_path: Path
) -> None:
    vectors = tmp_path / "vectors.npy"
    assert run("embed", model, "--input", library, "--output", vectors) == 0
    packed = tmp_path / "library.csv.gz"
    packed.write_bytes(gzip.compress(library.read_bytes()))
    lines = tmp_path / "library.jsonl"
    lines.write_text(
        "".join(json.dumps(dict(zip(("id", "title", "abstract"), row, strict=True))) + "\n"
                for row in ROWS)
    )  # fmt: skip
    for other in (packed, lines):
        assert run("similar", model, "--input", other, "--vectors", vectors, *PAPER) == 0


@pytest.mark.parametrize(
    "rows",
    [ROWS[:-1], [*ROWS, ROWS[0]], [*ROWS[1:], ROWS[0]], [*ROWS[:-1], ("5", "Deep speech", "")],
     [("1", "Graph", "proof proof of a graph"), *ROWS[1:]]],
)  # fmt: skip
def test_vectors_of_another_library_are_refused(
    rows: list[tuple[str, str, str]], model: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    vectors, other = tmp_path / "vectors.npy", tmp_path / "other.csv"
    assert run("embed", model, "--input", library, "--output", vectors) == 0
    pd.DataFrame(rows, columns=["id", "title", "abstract"]).to_csv(other, index=False)
    capsys.readouterr()
    assert run("similar", model, "--input", other, "--vectors", vectors, *PAPER) == 2
    output = capsys.readouterr()
    assert output.err == f"error: {vectors}: of another library than {other} (--vectors)\n"
    assert output.out == ""


def test_vectors_of_another_model_are_refused(
    model: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    vectors = tmp_path / "vectors.npy"
    assert run("embed", save(tmp_path / "other", 1), "--input", library, "--output", vectors) == 0
    capsys.readouterr()
    assert run("similar", model, "--input", library, "--vectors", vectors, *PAPER) == 2
    assert "made by another model than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vectors.npy", lambda raw: raw[:-4]),
        ("vectors.npy", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        ("vectors.npy", lambda _: b""),
        ("vectors.npy.json", lambda raw: raw.replace(b"library", b"librarx")),
        ("vectors.npy.json", lambda _: b"[]"),
        ("vectors.npy", None),
        ("vectors.npy.json", None),
    ],
)
def test_damaged_vectors_are_refused(
    name: str, change, model: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    vectors = tmp_path / "vectors.npy"
    assert run("embed", model, "--input", library, "--output", vectors) == 0
    file = tmp_path / name
    if change:
        file.write_bytes(change(file.read_bytes()))
    else:
        file.unlink()
    capsys.readouterr()
    assert run("similar", model, "--input", library, "--vectors", vectors, *PAPER) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: {tmp_path}/vectors.npy")
    assert (output.err.count("\n"), output.out) == (1, "")


def test_a_bad_row_stops_and_leaves_earlier_vectors(
    model: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    vectors, bad = tmp_path / "vectors.npy", tmp_path / "bad.csv"
    assert run("embed", model, "--input", library, "--output", vectors) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("vectors*")}
    assert set(before) == {"vectors.npy", "vectors.npy.json"}
    bad.write_text(library.read_text() + "6,only a title\n")
    capsys.readouterr()
    assert run("embed", model, "--input", bad, "--output", vectors) == 2
    assert "use --bad-rows skip" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.glob("vectors*")} == before
    skip = ("--bad-rows", "skip")
    assert run("embed", model, "--input", bad, "--output", vectors, *skip) == 0
    output = capsys.readouterr()
    assert "5 papers, 1 row skipped ->" in output.out
    assert "skipped: " in output.err
    assert run("similar", model, "--input", bad, "--vectors", vectors, *PAPER, *skip) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["similar", "--input", "{library}"], "similar needs --title and --abstract"),
        (["similar", "--input", "{library}", "--title", "qwer asdf"],
         "the model knows none of the 2 words of the paper"),
        (["similar", "--input", "{library}", "--title", "été"], "knows none of the"),
        (["similar", "--input", "none.csv", "--title", "deep"], "none.csv"),
        (["similar", "--input", "{empty}", "--title", "deep"], "contains no papers"),
        (["embed", "--input", "{library}", "--output", "vectors.csv"], "name ends in .npy"),
        (["embed", "--input", "{library}", "--output", "/dev/null"], "name ends in .npy"),
        (["embed", "--input", "{empty}", "--output", "{tmp}/v.npy"], "contains no papers"),
    ],
)  # fmt: skip
def test_mistakes_give_one_line(
    arguments: list[str], message: str, model: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "empty.csv").write_text("title,abstract\n")
    places = {"library": library, "empty": tmp_path / "empty.csv", "tmp": tmp_path}
    filled = [argument.format(**places) for argument in arguments]
    assert run(filled[0], model, *filled[1:]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert (output.err.count("\n"), output.out) == (1, "")
    assert not list(tmp_path.glob("*.npy*"))


@pytest.mark.parametrize("command", ["similar", "embed"])
def test_a_model_without_vectors_says_so(
    command: str, model_folder: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    more = PAPER if command == "similar" else ["--output", tmp_path / "v.npy"]
    assert run(command, model_folder, "--input", library, *more) == 2
    assert capsys.readouterr().err == (
        "error: a v1 has no vectors of papers; use the shipped model or another v6 (--model)\n"
    )


def test_papers_without_ids_are_named_by_their_row(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arxiv_hybrid.commands.library.CHUNK", 2)
    table = pd.DataFrame([row[1:] for row in ROWS], columns=["title", "abstract"])
    table.to_csv(tmp_path / "library.csv", index=False)
    assert run("similar", model, "--input", tmp_path / "library.csv", *PAPER, "--top", 1) == 0
    assert capsys.readouterr().out == " 1.000  row 2  Deep learning\n"
    assert predict_file.CHUNK > 2
