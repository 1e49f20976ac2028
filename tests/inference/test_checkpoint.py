"""A saved classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CLASSES, merged
from damaged_models import edited, resealed

from arxiv_hybrid.evaluation.attention import attention_table, explain
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import FAMILIARITY
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import train_classifier


def run(params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary):
    return train_classifier(params, splits["train"], splits["val"], vocabulary, None, CLASSES)


def test_a_classifier_survives_a_round_trip(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    classifier, _ = run(tiny_params, splits, vocabulary)
    checkpoint.save(tmp_path, classifier.model, vocabulary, classifier.config)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model.json", "model.safetensors", "vocab.txt"
    ]  # fmt: skip
    loaded = checkpoint.load(str(tmp_path))
    test = splits["test"]
    torch.testing.assert_close(
        loaded.probabilities(test), classifier.probabilities(test), rtol=0, atol=0
    )
    table = loaded.classify(test[["title", "abstract"]])
    assert set(table["category"]) <= set(loaded.config.classes)
    assert table.drop(columns="category").sum(axis=1).to_numpy() == pytest.approx(1.0)

    exact = checkpoint.load(tmp_path, precision="fp32")  # bf16 rounds a weight at its 3rd digit
    papers = explain(exact, test.head(3))
    for paper, (_, row) in zip(papers, test.head(3).iterrows(), strict=True):
        assert paper.title.tokens == tokenize(row["title"])[:12]  # tiny_params' title_length
        assert paper.title.heads.shape == (4, len(paper.title.tokens))
        assert paper.abstract.heads.sum(1) == pytest.approx(1.0, abs=1e-4)
        assert paper.actual == (loaded.config.classes[row["label"]],)
        _, maps = exact.encode(row.to_frame().T).batch(np.array([0])).feed(exact.model)
        fusion = [paper.title.fusion, paper.abstract.fusion]
        assert fusion == pytest.approx(maps["fusion_weights"][0].tolist(), abs=1e-5)
    assert [p.predicted for p in papers] == exact.classify(test.head(3))["category"].tolist()
    shown = attention_table(papers)
    assert set(shown["part"]) == {"title", "abstract"}
    title = shown[shown["part"] == "title"].groupby("id")["weight"].sum()
    assert title.to_numpy() == pytest.approx(1.0, abs=1e-4)

    assert loaded.classify(test.head(0)).columns.tolist() == table.columns.tolist()
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"vocab\.txt: not found"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5]}, "1 thresholds, expected 2"),
        ({"thresholds": []}, "0 thresholds, expected 2"),
        ({"thresholds": [0.5, 1.5]}, "thresholds must be numbers from 0 to 1"),
        ({"thresholds": [0.5, "x"]}, "not a sound model"),
        ({"biases": [0.0, 1e999]}, "biases must be numbers"),
        ({"biases": [0.0]}, "1 biases, expected 2"),
        ({"multi_label": False}, "2 biases, expected 0"),
        ({"temperature": 0.0}, "temperature 0.0 is not positive"),
        ({"classes": ["a", "a"]}, "classes must be at least two different names"),
        ({"classes": ["a", "b", "c"]}, "3 classes for 2 outputs"),
        ({"abstract_length": 10**9}, "abstract_length must be an integer from 1 to"),
        ({"temperature": "warm"}, "not a sound model"),
        ({"titles": {"c": "Third"}}, "titles of unknown classes: c"),
        ({"unheard": 1}, "not a sound model"),
    ],
)
def test_a_damaged_configuration_is_refused(
    change: dict[str, Any], message: str, model_folder: Path
) -> None:
    path = model_folder / "model.json"
    several = {"classes": ["a", "b"], "multi_label": True, "biases": [0.0, 0.0],
               "thresholds": [0.5, 0.2], "titles": {"a": "First"}}  # fmt: skip
    content = {**json.loads(path.read_text()), **several}
    del content[digests.KEY]
    content["arguments"]["num_classes"] = 2
    loaded = checkpoint.load(model_folder)
    two = registry.build("v1", **content["arguments"])
    checkpoint.save(model_folder, two, loaded.vocabulary, checkpoint.ModelConfig(**content))
    assert checkpoint.load(model_folder).config.thresholds == [0.5, 0.2]
    resealed(edited(change))(model_folder)
    with pytest.raises(UserError, match=message):
        checkpoint.load(model_folder)


def test_a_model_saved_without_familiarity_forgets_an_earlier_one(
    tiny_params: Params, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    classifier, _ = run(tiny_params, splits, vocabulary)
    classifier.save(tmp_path)
    loaded, test = checkpoint.load(tmp_path), splits["test"]
    assert loaded.classify(test)["unsure"].tolist() == classifier.classify(test)["unsure"].tolist()
    assert loaded.classify(test.assign(title="asdf", abstract="qwer"))["unsure"].all()
    (tmp_path / FAMILIARITY).write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a sound model"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, classifier.model, vocabulary, classifier.config)
    assert not checkpoint.load(tmp_path).classify(test)["unsure"].any()


def test_explanations_show_20_title_and_50_abstract_words(
    tiny_content: dict, splits: dict[str, pd.DataFrame], vocabulary: Vocabulary
) -> None:
    changes = {"epochs": 1, "vocab": {"title_length": 30, "abstract_length": 300}}
    classifier, _ = run(parse(merged(tiny_content, changes), "params"), splits, vocabulary)
    papers = splits["test"].head(2)
    papers = papers.assign(title=papers["title"] + " " + papers["abstract"])
    shown = attention_table(explain(classifier, papers))
    assert shown.groupby("part")["position"].max().to_dict() == {"abstract": 50, "title": 20}
