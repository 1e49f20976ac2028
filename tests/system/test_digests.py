"""Files that stages hand on are refused if they are damaged or beside the wrong files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES
from damaged_models import file_damages
from pyarrow import parquet
from saved_encoder import save_encoder

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.inference import pretrained
from arxiv_hybrid.scratch import next_word
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_parquet, write_json, write_lines, write_parquet
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.vectors.matrix import load_matrix, save_matrix
from arxiv_hybrid.vectors.storage import load_vectors, save_vectors

PAPERS = pd.DataFrame(
    {
        "id": ["1", "2", "3"],
        "title": ["a", "", digests.BLANK],
        "label": [0, 1, 1],
        "labels": [[0], [0, 1], [1]],
    }
)


def write_split(folder: Path, seed: int) -> None:
    LabelSet(("b", "a") if seed else ("a", "b")).write(folder / "labels.json")
    papers = PAPERS.assign(label=[seed, 1, 1])
    write_parquet(folder / "train.parquet", papers, bind=[folder / "labels.json"])


def write_embeddings(folder: Path, seed: int) -> None:
    words = ["<PAD>", "<UNK>", *(["a", "b"] if seed else ["b", "a"])]
    write_lines(folder / "vocab.txt", words)
    matrix = np.full((4, 3), seed, np.float32)
    save_matrix(folder / "embeddings.safetensors", matrix, words=folder / "vocab.txt")


def write_vectors(folder: Path, seed: int) -> None:
    words = ["speech", "text"] if seed else ["text", "speech"]
    save_vectors(folder, words, np.full((2, 3), seed, np.float32))


def write_encoder(folder: Path, seed: int) -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", *(["a", "b"] if seed else ["b", "a"])))
    save_encoder(folder, vocabulary, [str(seed)], num_filters=2 + seed)


def write_next_word(folder: Path, seed: int) -> None:
    words = [*next_word.SPECIAL, *(["a", "b"] if seed else ["b", "a"])]
    settings = next_word.Settings(embedding=2, filters=2, hidden=2, seed=seed)
    next_word.save_model(folder, next_word.Model.new("cnn", words, settings))


def write_predictions(folder: Path, seed: int) -> None:
    p = np.array([[0.1, 0.9 - seed / 2]])
    Predictions(p, np.array([0.5, 0.2 + seed / 2])).write(folder, "val", ["a", "b"])


Write = Callable[[Path, int], None]
SETS: dict[str, tuple[Write, Callable[[Path], Any]]] = {
    "split": (write_split, lambda folder: read_parquet(folder / "train.parquet")),
    "embeddings": (write_embeddings, lambda folder: load_matrix(folder / "embeddings.safetensors")),
    "vectors": (write_vectors, load_vectors),
    "encoder": (write_encoder, pretrained.load_pretrained),
    "next word": (write_next_word, next_word.load_model),
    "predictions": (
        write_predictions, lambda folder: Predictions.read(folder, "val", multi_label=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_damaged_or_exchanged_file_is_refused(name: str, tmp_path: Path) -> None:
    write, read = SETS[name]
    for seed, folder in enumerate(("sound", "other")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, seed)
        read(tmp_path / folder)
    accepted: list[str] = []
    tried = 0
    for file in sorted(path.name for path in (tmp_path / "sound").iterdir()):
        for what, damage in file_damages(file, tmp_path / "other"):
            folder = tmp_path / "damaged"
            shutil.copytree(tmp_path / "sound", folder)
            damage(folder)
            tried += 1
            try:
                read(folder)
                accepted.append(what)
            except UserError as error:
                accepted += [] if str(folder) in str(error) else [f"{what}: {error}"]
            shutil.rmtree(folder)
    assert accepted == []
    assert tried > 30


def test_data_survives_a_round_trip(tmp_path: Path) -> None:
    write_split(tmp_path, 0)
    read = read_parquet(tmp_path / "train.parquet")
    assert read.drop(columns="labels").equals(PAPERS.drop(columns="labels"))
    assert [list(numbers) for numbers in read["labels"]] == PAPERS["labels"].tolist()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "train.parquet"), read)


def by_pandas(path: Path) -> None:
    pd.read_parquet(path).assign(label=0).to_parquet(path, index=False)


def by_pyarrow(path: Path) -> None:
    """Keeps the file's metadata, its digests included."""
    table = parquet.read_table(path)
    parquet.write_table(table.slice(0, 2), path)


@pytest.mark.parametrize("rewrite", [by_pandas, by_pyarrow])
def test_a_file_that_another_program_wrote_is_refused(
    rewrite: Callable[[Path], None], tmp_path: Path
) -> None:
    write_split(tmp_path, 0)
    rewrite(tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet: not as a stage wrote it: .* repro -f"):
        read_parquet(tmp_path / "train.parquet")


def test_other_labels_beside_a_split_are_named(tmp_path: Path) -> None:
    write_split(tmp_path, 0)
    CLASSES.write(tmp_path / "labels.json")
    with pytest.raises(UserError, match=r"belongs to another labels\.json"):
        read_parquet(tmp_path / "train.parquet")


@pytest.mark.parametrize(
    ("name", "config"), [("encoder", "model.json"), ("next word", "model.json")]
)
def test_models_of_older_versions_are_read_and_one_line_says_so(
    name: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, read = SETS[name]
    write(tmp_path, 0)
    content = json.loads((tmp_path / config).read_text())
    del content[digests.KEY]
    write_json(tmp_path / config, content)
    read(tmp_path)
    error = capsys.readouterr().err
    assert error == (
        f"{tmp_path}: written by an older version, without digests: damage may go unnoticed; "
        "train it again\n"
    )


def test_metrics_hold_no_digests(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": 1})
    assert (tmp_path / "m.json").read_text() == '{\n  "a": 1\n}\n'


def test_text_that_looks_like_the_blank_is_kept(tmp_path: Path) -> None:
    write_split(tmp_path, 0)
    assert read_parquet(tmp_path / "train.parquet")["title"].tolist()[2] == digests.BLANK
