"""Matplotlib figures of the data in the plot CSVs, for MLflow and for PNG files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arxiv_hybrid.evaluation.attention import TOKENS_SHOWN, Explanation, Part
from arxiv_hybrid.evaluation.confusion import ConfusionTable


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    image = BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def learning_curves(epochs: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch.

    epochs: columns epoch, train_loss, val_loss, train_accuracy and val_accuracy.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "val"):
            axis.plot(epochs["epoch"], epochs[f"{part}_{name}"], marker="o", label=part)
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def confusion_matrix(table: ConfusionTable, title: str) -> Figure:
    """A heat map of the shares of each actual class (row), with counts; larger for more classes."""
    side = max(4.2, 0.75 * len(table.names) + 1.5)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axis = figure.subplots()
    share, counts = table.shares, table.counts
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        axis.text(
            column,
            row,
            f"{share[row, column]:.0%}\n{counts[row, column]:,}",
            ha="center",
            va="center",
            color="white" if share[row, column] > 0.5 else "black",
        )
    ticks = range(len(table.names))
    axis.set_xticks(ticks, table.names, rotation=30, ha="right")
    axis.set_yticks(ticks, table.names)
    if not table.complete:
        title = f"{title}: the {len(table.names)} most confused classes"
    axis.set(xlabel="predicted", ylabel="actual", title=title)
    return figure


def reliability_diagram(rows: pd.DataFrame) -> Figure:
    """Accuracy by confidence; a perfectly calibrated classifier is on the diagonal.

    rows: columns confidence and accuracy, see `evaluation.metrics.reliability`.
    """
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    axis.plot(rows["confidence"], rows["accuracy"], marker="o", label="this model")
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def attention(paper: Explanation) -> Figure:
    """A paper's attention weights, title above abstract: a row for the mean and for each head.

    Each row is scaled by its largest weight.
    """
    parts = [paper.title, paper.abstract]
    heights = [len(part.heads) + 1 if len(part.heads) > 1 else 1 for part in parts]
    figure = Figure(figsize=(14, 3.0 + 0.42 * sum(heights)), layout="constrained")
    axes = figure.subplots(2, 1, height_ratios=heights)
    for axis, part, limit in zip(axes, parts, TOKENS_SHOWN, strict=True):
        _draw_part(axis, part, limit)
    predicted = ", ".join(f"{name} ({paper.probabilities[name]:.0%})" for name in paper.assigned)
    actual = f", actual {', '.join(paper.actual)}" if paper.actual else ""
    figure.suptitle(f"{paper.id}: predicted {predicted}{actual}")
    return figure


def _draw_part(axis: Axes, part: Part, limit: int) -> None:
    """Draw the weights of the first `limit` tokens; an empty text leaves the axis blank."""
    if not part.tokens:
        axis.set_axis_off()
        return
    tokens, heads = part.tokens[:limit], part.heads[:, :limit]
    rows = np.vstack([heads.mean(0), heads]) if len(heads) > 1 else heads
    names = ["mean", *(f"head {number + 1}" for number in range(len(rows) - 1))]
    shades = rows / rows.max(1, keepdims=True).clip(min=1e-9)
    axis.imshow(shades, cmap="Blues", aspect="auto", vmin=0, vmax=1)
    axis.set_xticks(range(len(tokens)), tokens, rotation=70, ha="right", fontsize=9)
    axis.set_yticks(range(len(rows)), names)
    axis.set_title(f"{part.name}, fusion weight {part.fusion:.2f}", fontsize=10)
