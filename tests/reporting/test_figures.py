"""Matplotlib figures."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd

from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.evaluation.confusion import ConfusionTable
from arxiv_hybrid.reporting import figures


def paper() -> Explanation:
    """A paper with two title tokens, four abstract tokens and two heads."""
    heads = np.array([[1.0, 0.0], [0.6, 0.4]])
    title = Part("title", "Deep words", ["deep", "words"], heads, 0.4)
    abstract = Part("abstract", "We ask what it", ["we", "ask", "what", "it"],
                    np.full((2, 4), 0.25), 0.6)  # fmt: skip
    return Explanation({"a": 0.25, "b": 0.75}, ("b",), "1", title, abstract, ("a",))


def test_figures_show_what_they_are_given() -> None:
    counts = np.array([[50, 2, 8], [3, 60, 1], [0, 9, 70]])
    table = ConfusionTable(["a", "b", "c"], counts, counts.sum(1), complete=True)
    curves = pd.DataFrame({"epoch": [1, 2]})
    for part in ("train", "val"):
        curves[f"{part}_loss"], curves[f"{part}_accuracy"] = [1.0, 0.5], [0.5, 0.7]
    drawn = {
        "confusion": figures.confusion_matrix(table, "t"),
        "curves": figures.learning_curves(curves),
        "reliability": figures.reliability_diagram(
            pd.DataFrame({"confidence": [0.5, 0.9], "accuracy": [0.6, 0.8]})
        ),
        "attention": figures.attention(paper()),
    }
    for figure in drawn.values():
        image = BytesIO()
        figure.savefig(image)
        assert image.getvalue().startswith(b"\x89PNG")
    shown = {text.get_text() for text in drawn["confusion"].axes[0].texts}
    assert any(str(counts[0, 0]) in text for text in shown)
    assert [list(line.get_ydata()) for line in drawn["curves"].axes[1].lines] == [[0.5, 0.7]] * 2
    assert drawn["attention"].get_suptitle() == "1: predicted b (75%), actual a"
    title, abstract = drawn["attention"].axes
    assert [tick.get_text() for tick in title.get_yticklabels()] == ["mean", "head 1", "head 2"]
    assert [tick.get_text() for tick in abstract.get_xticklabels()] == ["we", "ask", "what", "it"]
    shades = title.images[0].get_array()
    np.testing.assert_allclose(
        shades, [[1, 0.25], [1, 0], [1, 2 / 3]]
    )  # relative to the row's largest
    assert [axis.images[0].get_clim() for axis in (title, abstract)] == [(0, 1)] * 2


def test_shares_of_some_classes_are_of_all_their_papers() -> None:
    counts = np.array([[50, 2], [3, 60]])
    part = ConfusionTable(["a", "b"], counts, np.array([100, 120]), complete=False)
    axis = figures.confusion_matrix(part, "t").axes[0]
    assert axis.get_title() == "t: the 2 most confused classes"
    assert axis.texts[0].get_text() == "50%\n50"
    assert axis.texts[3].get_text() == "50%\n60"


def test_a_paper_of_several_classes_is_named_with_all_of_them() -> None:
    several = replace(paper(), assigned=("b", "a"), actual=("a", "b"))
    title = figures.attention(several).get_suptitle()
    assert title == "1: predicted b (75%), a (25%), actual a, b"
