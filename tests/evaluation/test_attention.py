"""Explanations of predictions: attention and occlusion, of one and of several classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.evaluation.attention import attention_table, explain
from arxiv_hybrid.evaluation.occlusion import occlusion
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier

PAPERS = pd.DataFrame({"id": ["1"], "title": ["Deep words"], "abstract": ["learning words"]})


@pytest.fixture
def several(model_folder: Path) -> Classifier:
    """A classifier of three classes by themselves; the first two always reach their thresholds."""
    classifier = checkpoint.load(model_folder, precision="fp32")
    biases, thresholds = [0.0, 3.0, -3.0], [0.01, 0.01, 0.99]
    config = replace(
        classifier.config, multi_label=True, biases=biases, thresholds=thresholds, temperature=1.0
    )
    return replace(classifier, config=config)


def test_explain_and_classify_agree(model_folder: Path) -> None:
    classifier = checkpoint.load(model_folder, precision="fp32")
    assert classifier.config.temperature != 1
    (explained,) = explain(classifier, PAPERS)
    predicted = classifier.classify(PAPERS).iloc[0]
    assert explained.assigned == (predicted["category"],)
    assert explained.actual == ()
    for name, probability in explained.probabilities.items():
        assert probability == pytest.approx(predicted[name], abs=1e-6)


def test_a_paper_of_several_classes_is_explained_with_all_of_them(several: Classifier) -> None:
    labelled = PAPERS.assign(label=0, labels=[[0, 2]])
    (explained,) = explain(several, labelled)
    predicted = several.classify(PAPERS).iloc[0]
    assert explained.assigned == ("cs.CL", "cs.AI-LG"), "the likeliest first"
    assert ";".join(explained.assigned) == predicted["categories"]
    assert explained.actual == ("cs.AI-LG", "cs.CV")
    assert explained.predicted == "cs.CL"
    assert sum(explained.probabilities.values()) != pytest.approx(1)
    rows = attention_table([explained])
    assert set(rows["actual"]) == {"cs.AI-LG; cs.CV"}
    assert set(rows["predicted"]) == {"cs.CL; cs.AI-LG"}
    (one,) = explain(checkpoint_of_one(several), labelled)
    assert one.actual == ("cs.AI-LG",), "with one class per paper, the main one"


def checkpoint_of_one(several: Classifier) -> Classifier:
    config = replace(several.config, multi_label=False, biases=[], thresholds=[])
    return replace(several, config=config)


def test_words_are_those_behind_the_likeliest_class(several: Classifier) -> None:
    result = occlusion(several, "Deep words", "learning words")
    assert result.assigned == ("cs.CL", "cs.AI-LG")
    whole = several.probabilities(PAPERS)[0, 1]
    assert {word for word, _ in result.drops} == {"deep", "words", "learning"}
    without = PAPERS.assign(title="unknown words")
    drop = float(whole - several.probabilities(without)[0, 1])
    assert dict(result.drops)["deep"] == pytest.approx(drop, abs=1e-6)


def test_ids_and_labels_bring_no_tags_into_plots(several: Classifier) -> None:
    config = replace(several.config, classes=["</script>", "b", "c"])
    papers = PAPERS.assign(id="</script><script>alert(1)</script>", label=0, labels=[[0]])
    table = attention_table(explain(replace(several, config=config), papers))
    assert "<" not in table.to_csv()
    assert set(table["id"]) == {"\u2039/script>\u2039script>alert(1)\u2039/script>"}
