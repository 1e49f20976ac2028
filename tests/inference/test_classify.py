"""What `Classifier` accepts as a table of papers, and which index its result has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.models import registry
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary

WORDS = ("deep", "learning", "words", "of", "speech")
PAPERS = pd.DataFrame(
    {
        "title": [" ".join(WORDS[: 1 + n % 5]) for n in range(8)],
        "abstract": [" ".join(WORDS[n % 5 :]) for n in range(8)],
    }
)


@pytest.fixture(scope="module", params=[False, True], ids=["one label", "several labels"])
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    arguments = {"vocab_size": 7, "embed_dim": 8, "num_classes": 2, "num_filters": 4,
                 "lstm_hidden": 4}  # fmt: skip
    several: dict[str, Any] = {"multi_label": True, "biases": [0.0, 0.1], "thresholds": [0.4, 0.6]}
    config = checkpoint.ModelConfig(
        "v1", arguments, ["cs.CV", "cs.CL"], 12, 40, 0.1, **(several if request.param else {})
    )
    known = Familiarity(
        idf=np.ones(7, np.float32), means=np.full((7, 2), 0.4, np.float32), unknown=3.0,
        curve=np.array([[4], [0.5], [0.1]], np.float32), threshold=0.0,
    )  # fmt: skip
    folder: Path = tmp_path_factory.mktemp("model")
    vocabulary = Vocabulary(("<PAD>", "<UNK>", *WORDS))
    checkpoint.save(folder, registry.build("v1", **arguments), vocabulary, config, known)
    return checkpoint.load(folder)


INDEXES = {
    "a part of a table": pd.RangeIndex(100, 116, 2),
    "shuffled": pd.Index([7, 0, 6, 1, 5, 2, 4, 3]),
    "repeated": pd.Index([1, 1, 1, 2, 2, 3, 3, 3], name="paper"),
    "strings": pd.Index([f"2511.0000{n}" for n in range(8)], name="id"),
    "dates": pd.date_range("2025-01-01", periods=8),
    "several levels": pd.MultiIndex.from_product([["a", "b"], [3, 1, 2, 0]], names=["x", "y"]),
    "missing values": pd.Index([0.5, np.nan, np.nan, 1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_the_result_has_the_index_of_the_papers(name: str, classifier: Classifier) -> None:
    plain = classifier.classify(PAPERS)
    assert plain["cs.CV"].nunique() > 4, "the premise: papers differ"
    papers = PAPERS.set_axis(INDEXES[name])
    result = classifier.classify(papers)
    pd.testing.assert_index_equal(result.index, papers.index)
    pd.testing.assert_frame_equal(result.reset_index(drop=True), plain)
    papers["p"] = result["cs.CV"]
    assert papers["p"].tolist() == plain["cs.CV"].tolist()


def test_a_filtered_table_gets_the_probabilities_of_its_own_papers(classifier: Classifier) -> None:
    some = PAPERS[PAPERS["title"].str.contains("words")].copy()
    some["p"] = classifier.classify(some)["cs.CV"]
    whole = classifier.classify(PAPERS)["cs.CV"]
    assert some["p"].to_dict() == pytest.approx(whole[some.index].to_dict(), abs=1e-6)
    shares = classifier.probabilities(some)[:, 0].tolist()
    assert shares == pytest.approx(some["p"].tolist(), abs=1e-6)


def test_no_papers_give_an_empty_table(classifier: Classifier) -> None:
    for index in (INDEXES["several levels"], INDEXES["strings"]):
        none = PAPERS.set_axis(index).head(0)
        result = classifier.classify(none)
        assert result.columns.tolist() == classifier.columns
        pd.testing.assert_index_equal(result.index, none.index)
    assert classifier.probabilities(PAPERS.head(0)).shape == (0, 2)
    assert explain(classifier, PAPERS.head(0)) == []


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]", "category"])
def test_texts_may_have_any_type_of_string(dtype: str, classifier: Classifier) -> None:
    expected = classifier.classify(PAPERS)
    pd.testing.assert_frame_equal(classifier.classify(PAPERS.astype(dtype)), expected)


def test_other_columns_are_ignored(classifier: Classifier) -> None:
    others = {"label": "cs.LG", "labels": None, "category": 7, 5: "a column without a name"}
    more = PAPERS.assign(**{str(k): v for k, v in others.items() if k != 5})
    more[5] = others[5]
    pd.testing.assert_frame_equal(classifier.classify(more), classifier.classify(PAPERS))
    assert classifier.probabilities(more).shape == (8, 2)


def with_cell(column: str, cell: Any) -> pd.DataFrame:
    cells = PAPERS[column].tolist()
    return PAPERS.assign(**{column: pd.Series([*cells[:3], cell, *cells[4:]], dtype=object)})


@pytest.mark.parametrize(
    ("papers", "message"),
    [
        (with_cell("title", None), "every paper needs a title, .* the title of 3 is missing"),
        (with_cell("abstract", np.nan), "every paper needs an abstract, .* abstract of 3 is miss"),
        (with_cell("title", pd.NA), "title of 3 is missing"),
        (with_cell("title", 1984), "a title that is text: the title of 3 is 1984, of type int"),
        (with_cell("title", 3.0), "is 3.0, of type float; read files with dtype=str"),
        (with_cell("abstract", b"deep"), "an abstract that is text: .* is b'deep', of type bytes"),
        (with_cell("title", ["deep"] * 99), "is .*'deep'.*, of type list"),
        (with_cell("title", True), "is True, of type bool"),
        (PAPERS.assign(title=range(8)), "the title of 0 is 0, of type int"),
        (PAPERS.assign(title=np.nan), "the title of 0 is missing"),
        (PAPERS.set_index(PAPERS["title"]).assign(title=7), "the title of 'deep' is 7"),
        (PAPERS.drop(columns="title"), "a title: the table has no columns called title"),
        (PAPERS[["title", "abstract", "title"]], "the table has 2 columns called title"),
        (PAPERS.rename(columns=str.upper), "no columns called title"),
        (pd.concat({"x": PAPERS}, axis=1), "no columns called title"),
        (PAPERS["title"], "expected a DataFrame, found Series"),
        (PAPERS.to_dict("records"), "expected a DataFrame, found list"),
        ("deep learning", "expected a DataFrame, found str"),
        (None, "expected a DataFrame, found NoneType"),
    ],
)
def test_anything_else_is_one_clear_error(
    papers: Any, message: str, classifier: Classifier
) -> None:
    asked: list[Callable[[Any], Any]] = [classifier.classify, classifier.probabilities]
    for ask in asked:
        with pytest.raises(UserError, match=message) as raised:
            ask(papers)
        assert len(str(raised.value)) < 250


@pytest.mark.parametrize("label", ["cs.LG", 0.5, np.nan, None, [0]])
def test_labels_that_are_no_numbers_of_classes_are_refused(
    label: Any, classifier: Classifier
) -> None:
    labels = pd.Series([0] * 7 + [label], dtype=object)
    with pytest.raises(UserError, match="label must hold the numbers of classes"):
        classifier.encode(PAPERS.assign(label=labels))
