"""What classifiers accept as papers, and which index the result has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from linear_models import linear_model

from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import TextClassifier
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


@pytest.fixture(
    scope="module",
    params=[(False, "v1"), (True, "v1"), (False, "linear"), (True, "linear")],
    ids=["one label", "several labels", "linear, one label", "linear, several labels"],
)
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    multi_label, kind = request.param
    if kind == "linear":
        return linear_model(multi_label=multi_label, threshold=0.0)
    return network(tmp_path_factory.mktemp("model"), multi_label=multi_label)


def network(folder: Path, *, multi_label: bool) -> TextClassifier:
    torch.manual_seed(0)
    arguments = {"vocab_size": 7, "embed_dim": 8, "num_classes": 2, "num_filters": 4,
                 "lstm_hidden": 4}  # fmt: skip
    several: dict[str, Any] = {"multi_label": True, "biases": [0.0, 0.1], "thresholds": [0.4, 0.6]}
    config = checkpoint.ModelConfig(
        "v1", arguments, ["cs.CV", "cs.CL"], 12, 40, 0.1, **(several if multi_label else {})
    )
    known = Familiarity(
        idf=np.ones(7, np.float32), means=np.full((7, 2), 0.4, np.float32), unknown=3.0,
        curve=np.array([[4], [0.5], [0.1]], np.float32), threshold=0.0,
    )  # fmt: skip
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
def test_the_result_has_the_index_of_the_papers(name: str, classifier: TextClassifier) -> None:
    plain = classifier.classify(PAPERS)
    assert plain["cs.CV"].nunique() > 4, "the premise: papers differ"
    papers = PAPERS.set_axis(INDEXES[name])
    result = classifier.classify(papers)
    pd.testing.assert_index_equal(result.index, papers.index)
    pd.testing.assert_frame_equal(result.reset_index(drop=True), plain)
    papers["p"] = result["cs.CV"]
    assert papers["p"].tolist() == plain["cs.CV"].tolist()


def test_a_filtered_table_gets_the_probabilities_of_its_own_papers(
    classifier: TextClassifier,
) -> None:
    some = PAPERS[PAPERS["title"].str.contains("words")].copy()
    some["p"] = classifier.classify(some)["cs.CV"]
    whole = classifier.classify(PAPERS)["cs.CV"]
    assert some["p"].to_dict() == pytest.approx(whole[some.index].to_dict(), abs=1e-6)
    shares = classifier.probabilities(some)[:, 0].tolist()
    assert shares == pytest.approx(some["p"].tolist(), abs=1e-6)


def test_no_papers_give_an_empty_table(classifier: TextClassifier) -> None:
    for index in (INDEXES["several levels"], INDEXES["strings"]):
        none = PAPERS.set_axis(index).head(0)
        result = classifier.classify(none)
        assert result.columns.tolist() == classifier.columns
        pd.testing.assert_index_equal(result.index, none.index)
    assert classifier.probabilities(PAPERS.head(0)).shape == (0, 2)
    assert classifier.classify([]).columns.tolist() == classifier.columns


def test_no_papers_need_no_explanation(tmp_path: Path) -> None:
    assert explain(network(tmp_path, multi_label=False), PAPERS.head(0)) == []


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]", "category"])
def test_texts_may_have_any_type_of_string(dtype: str, classifier: TextClassifier) -> None:
    expected = classifier.classify(PAPERS)
    pd.testing.assert_frame_equal(classifier.classify(PAPERS.astype(dtype)), expected)


def test_other_columns_are_ignored(classifier: TextClassifier) -> None:
    others = {"label": "cs.LG", "labels": None, "category": 7, 5: "a column without a name"}
    more = PAPERS.assign(**{str(k): v for k, v in others.items() if k != 5})
    more[5] = others[5]
    pd.testing.assert_frame_equal(classifier.classify(more), classifier.classify(PAPERS))
    assert classifier.probabilities(more).shape == (8, 2)


@pytest.mark.parametrize(
    "papers",
    [
        PAPERS.to_dict("records"),
        list(PAPERS.itertuples(index=False)),
        list(zip(PAPERS["title"], PAPERS["abstract"], strict=True)),
        tuple([*row] for row in PAPERS.to_numpy()),
        [
            {"label": 7, "abstract": abstract, "title": title}
            for title, abstract in PAPERS.to_numpy()
        ],
        [*PAPERS.head(4).to_dict("records"), *PAPERS.tail(4).itertuples(index=False)],
    ],
)
def test_papers_may_be_a_list(papers: Any, classifier: TextClassifier) -> None:
    expected = classifier.classify(PAPERS)
    pd.testing.assert_frame_equal(classifier.classify(papers), expected)
    shares = expected[classifier.config.classes].to_numpy()
    assert np.array_equal(classifier.probabilities(papers).numpy(), shares)


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
        (PAPERS["title"], "expected a table with the columns title and abstract, .* found Series"),
        (PAPERS.to_dict("list"), "found dict"),
        ("deep learning", "found str"),
        (None, "found NoneType"),
        (iter([("a", "b")]), "a list of dictionaries .* pairs, found list_iterator"),
        (["deep learning", "words"], "pairs; paper 0 is 'deep learning'"),
        (["ab"], "paper 0 is 'ab'"),
        ([("a", "b"), ("a", "b", "c")], r"paper 1 is \('a', 'b', 'c'\)"),
        ([PAPERS.iloc[0]], "paper 0 is title"),
        ([{"title": "a", "abstract": ""}, {"title": "b"}], "needs an abstract: paper 1 has none"),
        ([{"Title": "a", "Abstract": "b"}], "needs a title: paper 0 has none"),
        ([("a", None)], "the abstract of 0 is missing"),
        ([{"title": 7, "abstract": "b"}], "the title of 0 is 7, of type int"),
    ],
)
def test_anything_else_is_one_clear_error(
    papers: Any, message: str, classifier: TextClassifier
) -> None:
    asked: list[Callable[[Any], Any]] = [classifier.classify, classifier.probabilities]
    for ask in asked:
        with pytest.raises(UserError, match=message) as raised:
            ask(papers)
        assert len(str(raised.value)) < 250


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("label", ["cs.LG", 0.5, np.nan, None, [0]])
def test_labels_that_are_no_numbers_of_classes_are_refused(
    label: Any, multi_label: bool, tmp_path: Path
) -> None:
    labels = pd.Series([0] * 7 + [label], dtype=object)
    with pytest.raises(UserError, match="label must hold the numbers of classes"):
        network(tmp_path, multi_label=multi_label).encode(PAPERS.assign(label=labels))
