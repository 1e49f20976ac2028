"""Figures for people: the same data as the plot CSVs, drawn for MLflow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure


def learning_curves(epochs: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch; needs epoch, train_loss, val_loss and the accuracies."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "val"):
            axis.plot(epochs["epoch"], epochs[f"{part}_{name}"], marker="o", label=part)
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def confusion_matrix(counts: npt.NDArray[np.int64], class_names: list[str], title: str) -> Figure:
    """Counts (C, C) as a heat map, rows in per cent of the actual class."""
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axis = figure.subplots()
    share = counts / counts.sum(1, keepdims=True).clip(min=1)
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
    ticks = range(len(class_names))
    axis.set_xticks(ticks, class_names, rotation=30, ha="right")
    axis.set_yticks(ticks, class_names)
    axis.set(xlabel="predicted", ylabel="actual", title=title)
    return figure


def reliability_diagram(rows: pd.DataFrame) -> Figure:
    """Accuracy against confidence; the diagonal is a perfectly calibrated classifier."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    axis.plot(rows["confidence"], rows["accuracy"], marker="o", label="this model")
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def attention(words: pd.DataFrame) -> Figure:
    """Attention of one paper: title above, abstract below; `words` is from `explain`."""
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for axis, (part, group) in zip(
        figure.subplots(2, 1), words.groupby("part", sort=False), strict=False
    ):
        axis.bar(group["position"], group["weight"], color="tab:blue")
        axis.set_xticks(group["position"], group["token"], rotation=70, ha="right", fontsize=8)
        axis.set(ylabel=f"{part} attention")
    first = words.iloc[0]
    figure.suptitle(f"{first['id']}: actual {first['actual']}, predicted {first['predicted']}")
    return figure
