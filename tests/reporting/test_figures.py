"""Matplotlib figures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd

from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.reporting import figures


def paper() -> Explanation:
    """A paper with two title tokens, four abstract tokens and two heads."""
    heads = np.array([[1.0, 0.0], [0.6, 0.4]])
    title = Part("title", "Deep words", ["deep", "words"], heads, 0.4)
    abstract = Part("abstract", "We ask what it", ["we", "ask", "what", "it"],
                    np.full((2, 4), 0.25), 0.6)  # fmt: skip
    return Explanation({"a": 0.25, "b": 0.75}, "1", title, abstract, "a")


def test_figures_show_what_they_are_given() -> None:
    counts = np.array([[50, 2, 8], [3, 60, 1], [0, 9, 70]])
    curves = pd.DataFrame({"epoch": [1, 2]})
    for part in ("train", "val"):
        curves[f"{part}_loss"], curves[f"{part}_accuracy"] = [1.0, 0.5], [0.5, 0.7]
    drawn = {
        "confusion": figures.confusion_matrix(counts, ["a", "b", "c"], "t"),
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
