"""`python -m arxiv_hybrid predict`."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.inference import checkpoint, predict_file

PAPERS = pd.DataFrame(
    {
        "id": ["b", "a", "c", "b", "e"],
        "title": ["Deep learning", "words, words", "", "Learning", "nothing known"],
        "abstract": ["Deep words", "learning", "", 'deep \n"deep", deep', "here neither"],
    }
)
PROBABILITIES = ["cs.AI-LG", "cs.CL", "cs.CV"]


@pytest.mark.parametrize("name", ["papers.csv", "papers.csv.gz"])
def test_predictions_are_in_order_whatever_the_chunk_size(
    model_folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    PAPERS.to_csv(tmp_path / name, index=False)
    given = ["predict", "--model", str(model_folder), "--input", str(tmp_path / name)]
    tables = []
    for chunk in (4096, 2):
        monkeypatch.setattr(predict_file, "CHUNK", chunk)
        output = tmp_path / f"{chunk}.csv"
        assert main([*given, "--output", str(output)]) == 0
        tables.append(pd.read_csv(output))
        assert "5 papers" in capsys.readouterr().out
    whole, cut = tables
    assert whole.columns.tolist() == ["id", "category", "unsure", *PROBABILITIES]
    assert whole["id"].tolist() == PAPERS["id"].tolist()
    pd.testing.assert_frame_equal(whole, cut, atol=2e-6, rtol=0)
    direct = checkpoint.load(model_folder).classify(PAPERS)
    assert whole["category"].tolist() == direct["category"].tolist()
    np.testing.assert_allclose(whole[PROBABILITIES], direct[PROBABILITIES], atol=2e-6, rtol=0)


def test_a_csv_has_no_formulas_and_json_lines_have_the_ids_as_given(
    model_folder: Path, tmp_path: Path
) -> None:
    ids = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2.5", "plain"]
    PAPERS.assign(id=ids).to_csv(tmp_path / "in.csv", index=False)
    classifier = checkpoint.load(model_folder)
    for name in ("out.csv", "out.jsonl"):
        predict_file.predict_file(classifier, tmp_path / "in.csv", tmp_path / name)
    expected = [f"'{text}" for text in ids[:3]] + ids[3:]
    assert pd.read_csv(tmp_path / "out.csv", dtype={"id": str})["id"].tolist() == expected
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids


def test_title_and_abstract_are_enough(model_folder: Path, tmp_path: Path) -> None:
    PAPERS[["abstract", "title"]].to_csv(tmp_path / "in.csv", index=False)
    classifier = checkpoint.load(model_folder)
    assert (
        predict_file.predict_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv").papers == 5
    )
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist() == [
        "category",
        "unsure",
        *PROBABILITIES,
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("title,abstract\n", "contains no papers"),
        ('title,abstract\na,b\nc,"open\nd,e\nf,g\n', "lines 3 to 5: unexpected end of data"),
        ("title,abstract\na,\udcff\n", "line 2: not UTF-8"),
        ('id,"title"x,abstract\n1,a,b\n', "line 1: ',' expected after '\"'"),
        ("title,abstract,\udcff\na,b,c\n", "line 1: not UTF-8"),
        ("title,text\na,b\n", "no column abstract; it has title, text"),
        ("title,abstract\na,b,c\n", "line 2: 3 fields, the header has 2"),
        ("title,abstract\na,b\na,b,c\n", "line 3: 3 fields, the header has 2"),
    ],
)
def test_a_malformed_file_leaves_the_output_as_it_was(
    model_folder: Path, tmp_path: Path, content: str, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "in.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    (tmp_path / "out.csv").write_text("before")
    files = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", "--model", str(model_folder), *files]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "in.csv" in error
    assert (tmp_path / "out.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "model", "out.csv"]


def test_a_missing_model_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert main(["predict", "--model", nowhere, "--input", "x.csv", "--output", "y.csv"]) == 2
    assert "nowhere" in capsys.readouterr().err


ONE = ["predict", "--title", "Deep learning", "--abstract", "words words unheard deep"]


def test_one_paper_gets_probabilities_and_the_words_they_depend_on(
    model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ONE, "--model", str(model_folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    classifier = checkpoint.load(model_folder)

    def classify(title: str, abstract: str) -> pd.Series:
        paper = pd.DataFrame({"title": [title], "abstract": [abstract]})
        return classifier.classify(paper).iloc[0]

    whole = classify("Deep learning", "words words unheard deep")
    assert result["category"] == whole["category"]
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert result["probabilities"][whole["category"]] == pytest.approx(whole[whole["category"]])
    hidden = {
        "deep": classify("unheard learning", "words words unheard unheard"),
        "learning": classify("Deep unheard", "words words unheard deep"),
        "words": classify("Deep learning", "unheard unheard unheard deep"),
    }
    category = result["category"]
    drops = {word: whole[category] - occluded[category] for word, occluded in hidden.items()}
    expected = {word: drop for word, drop in drops.items() if drop > 0}
    assert result["words"] == pytest.approx(expected, abs=1e-3)
    assert list(result["words"]) == sorted(expected, key=lambda word: -expected[word])


def test_predictions_below_the_threshold_are_called_unsure(
    model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*ONE, "--model", str(model_folder)]
    assert main([*given, "--sure", "1"]) == 0
    out = capsys.readouterr().out
    assert "unsure: below 100%" in out
    assert main([*given, "--sure", "0"]) == 0
    out = capsys.readouterr().out
    assert "unsure" not in out
    shares = [float(line.split()[1].rstrip("%")) for line in out.splitlines()[:3]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "predict needs --title and --abstract, or --input and --output"),
        (["--input", "in.csv"], "predict needs --title"),
        (["--title", "x", "--input", "in.csv"], "either"),
        (["--title", "?!", "--abstract", "..."], "at least one word in Latin letters"),
    ],
)
def test_options_that_contradict_or_are_missing_are_errors(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *given]) == 2
    assert message in capsys.readouterr().err


DAMAGED = [
    b'{"id": 7, "title": "Deep learning", "abstract": "words"}',
    b"not JSON",
    b"[1, 2]",
    b'{"title": "Deep"}',
    b'{"title": "Deep", "abstract": null}',
    b"",
    b'{"title": "Deep", "abstract": "\xff"}',
    b'{"title": "learning", "abstract": "deep"}',
]


def test_bad_json_lines_are_skipped_with_their_line_numbers(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(DAMAGED))
    files = ["--model", str(model_folder), "--input", str(source), "--output", str(target)]
    assert main(["predict", *files]) == 2
    assert "line 2: not JSON" in capsys.readouterr().err
    assert not target.exists()
    assert main(["predict", *files, "--bad-rows", "skip"]) == 0
    output = capsys.readouterr()
    assert [line.split(": ", 2)[2].split(":")[0] for line in output.err.splitlines()[:-1]] == [
        "line 2", "line 3", "line 4", "line 5", "line 7",
    ]  # fmt: skip
    assert "2 papers, 5 rows skipped" in output.out
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row.get("id") for row in rows] == ["7", None]
    direct = checkpoint.load(model_folder).classify(
        pd.DataFrame({"title": ["Deep learning", "learning"], "abstract": ["words", "deep"]})
    )
    assert [row["category"] for row in rows] == direct["category"].tolist()
    assert [row["unsure"] for row in rows] == [False, False], "this model has no familiarity"
    assert rows[1]["probabilities"] == pytest.approx(
        direct[PROBABILITIES].iloc[1].to_dict(), abs=2e-6
    )


def test_bad_csv_rows_are_skipped_with_their_line_numbers(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(
        b"id,title,abstract\n1,deep,words\n2,deep\n\n3,deep,words,more\n4,\xff,x\n5,"
        b'"two\nlines",deep\n'
    )
    files = ["--model", str(model_folder), "--input", str(source), "--output", str(target)]
    assert main(["predict", *files, "--bad-rows", "skip"]) == 0
    assert pd.read_csv(target)["id"].tolist() == [1, 5]
    error = capsys.readouterr().err
    for line in ("line 3: 2 fields", "line 5: 4 fields", "line 6: not UTF-8"):
        assert line in error


def test_a_file_of_bad_rows_only_is_an_error(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text("x\ny\n")
    files = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", "--model", str(model_folder), *files, "--bad-rows", "skip"]) == 2
    assert "contains no papers; the first problem: " in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_papers_can_come_from_a_pipe(model_folder: Path) -> None:
    paper = {"id": "1", "title": "Deep learning", "abstract": "words"}
    done = subprocess.run(
        [sys.executable, "-m", "arxiv_hybrid", "predict", "--model", str(model_folder),
         "--input", "-", "--output", "-"],
        input=json.dumps(paper) + "\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["id"] == "1"
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert "1 paper -> -" in done.stderr


def test_unbalanced_quotes_are_an_error_not_a_paper(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,title,abstract\n1,T,"He said "stop" here,\nfoo, bar, baz\nmore"\n2,a,b\n')
    files = ["--model", str(model_folder), "--input", str(source), "--output", str(target)]
    assert main(["predict", *files, "--bad-rows", "skip"]) == 2
    assert "it is unknown where the next row begins" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("name", ["out.csv.gz", "out.jsonl.gz"])
def test_compressed_outputs_can_be_read_again(
    model_folder: Path, tmp_path: Path, name: str
) -> None:
    PAPERS.to_csv(tmp_path / "in.csv", index=False)
    files = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / name)]
    assert main(["predict", "--model", str(model_folder), *files]) == 0
    lines = gzip.decompress((tmp_path / name).read_bytes()).decode().splitlines()
    assert len(lines) == len(PAPERS) + ("csv" in name)


def test_standard_output_is_utf_8(model_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arxiv_hybrid", "predict", "--model", str(model_folder),
         "--input", "-", "--output", "-"],
        input='{"id": "é日", "title": "deep", "abstract": "words"}\n'.encode(),
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert json.loads(done.stdout.decode())["id"] == "é日"
