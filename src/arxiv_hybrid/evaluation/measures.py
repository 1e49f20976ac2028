"""The measures of a report that summaries show."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

# measures of one class per paper, and of several, with their headings
ONE_CLASS = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
SEVERAL = {"precision_at_1": "precision@1", "micro_f1": "micro-F1", "macro_f1": "macro-F1",
           "sample_f1": "sample-F1"}  # fmt: skip


def shown_measures(report: Container[str]) -> dict[str, str]:
    """The measures of a report that summaries show, with their headings; the main one first."""
    return SEVERAL if "precision_at_1" in report else ONE_CLASS


def main_measure(report: dict[str, Any]) -> float:
    """How often the likeliest class is right: accuracy, or precision@1."""
    score: float = report[next(iter(shown_measures(report)))]
    return score


def p_value_text(p_value: float) -> str:
    """`p = 0.83`; metrics files have six places, so what is smaller is `p < 0.0001`."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def headline(report: dict[str, Any]) -> str:
    """The main measures of a report in one line."""
    measures = shown_measures(report)
    return ", ".join(f"{heading} {report[name]:.2%}" for name, heading in measures.items())
