"""The table at the end of `make repro`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from arxiv_hybrid.audit.report import best_possible
from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.evaluation.classes import worst_and_best
from arxiv_hybrid.evaluation.measures import SEVERAL, headline, p_value_text, shown_measures

_EXTREMES = 10  # classes named below the table, half of them the worst


def summary_table(
    metrics: dict[str, dict[str, Any]],
    classes: pd.DataFrame,
    places: dict[str, str],
    remarks: Sequence[str] = (),
) -> str:
    """The scores of a run, and where its outputs are.

    metrics: the content of metrics/NAME.json by name: evaluate and, if they are of this run, audit,
    baseline and ensemble. classes: the result of `class_rows`. places: where each output is, by
    name. remarks: lines below the scores.
    """
    model = metrics["evaluate"]
    measures = shown_measures(model)
    widths = [max(10, len(heading) + 2) for heading in measures.values()]
    headings = "".join(f"{h:>{w}}" for h, w in zip(measures.values(), widths, strict=True))
    lines = ["", f"{'on the test papers':<20}{headings}", "-" * (20 + sum(widths))]
    for name, scores, remark in _summary_rows(metrics):
        cells = (
            f"{scores[measure]:>{width}.2%}" if measure in scores else " " * width
            for measure, width in zip(measures, widths, strict=True)
        )
        lines.append(f"{name:<20}{''.join(cells)}  {remark}".rstrip())
    lines += ["", *remarks, against_baseline(model)]
    if unsure := model.get("unsure"):
        lines.append(_unsure(unsure))
    lines += _worst_and_best(classes)
    lines += [f"{name + ':':<20}{place}" for name, place in places.items()]
    return "\n".join(lines)


def gains(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The gains over the baseline by the heading of the measure; each has a `gain_interval`."""
    gain = report["against_baseline"]
    if "gain" in gain:
        return {"accuracy": gain}
    return {heading: gain[name] for name, heading in SEVERAL.items() if name in gain}


def evaluation_line(report: dict[str, Any]) -> str:
    """The main measures of a report and the gains over the baseline in one line."""
    compared = gains(report)
    names = [name + " " if len(compared) > 1 else "" for name in compared]
    parts = (f"{n}{each['gain']:+.2%}" for n, each in zip(names, compared.values(), strict=True))
    p_value = p_value_text(report["against_baseline"]["p_value"])
    return f"{headline(report)}, {', '.join(parts)} over the baseline ({p_value})"


def against_baseline(report: dict[str, Any]) -> str:
    """The gains over the baseline, with their intervals, in one line."""
    compared = gains(report)
    names = [name + " " if len(compared) > 1 else "" for name in compared]
    parts = [
        f"{name}{each['gain']:+.2%} ({each['gain_interval'][0]:+.2%} to "
        f"{each['gain_interval'][1]:+.2%})"
        for name, each in zip(names, compared.values(), strict=True)
    ]
    return (
        f"against the baseline: {', '.join(parts)}, "
        f"McNemar {p_value_text(report['against_baseline']['p_value'])}, "
        f"on {report['papers']:,} papers"
    )


def if_baseline_wins(report: dict[str, Any], folder: str) -> list[str]:
    """A line on how to use the linear model in `folder` if it scores higher; else no line."""
    if next(iter(gains(report).values()))["gain"] >= 0:
        return []
    return [
        f"the baseline scores higher: predict --model {folder} answers with it, and "
        f"serve --model {folder} serves it"
    ]


def _summary_rows(
    metrics: dict[str, dict[str, Any]],
) -> list[tuple[str, dict[str, float], str]]:
    """Name, measures, and a remark, of what is known."""
    model, votes = metrics["evaluate"], metrics.get("ensemble")
    main = next(iter(shown_measures(model)))
    low, high = model[f"{main}_interval"]
    limit = ceiling(metrics)
    rows = [
        ("majority class", majority(metrics), ""),
        ("TF-IDF + linear", metrics.get("baseline"), ""),
        ("this model", model, f"interval {low:.1%} to {high:.1%}"),
        ("ensemble", votes, f"{len(votes['members'])} members" if votes else ""),
        (
            "oracle ceiling",
            None if limit is None else {"accuracy": limit},
            "the highest expected accuracy without leakage",
        ),
    ]
    return [(name, scores, remark) for name, scores, remark in rows if scores is not None]


def majority(metrics: dict[str, dict[str, Any]]) -> dict[str, float] | None:
    """The measures of always predicting the largest class; None if neither file has them."""
    if "majority" in metrics.get("baseline", {}):
        scores: dict[str, float] = metrics["baseline"]["majority"]
        return scores
    if "majority_accuracy" in metrics.get("audit", {}).get("task", {}):
        return {"accuracy": metrics["audit"]["task"]["majority_accuracy"]}
    return None


def ceiling(metrics: dict[str, dict[str, Any]]) -> float | None:
    """The highest expected accuracy; None if it is unknown."""
    return best_possible(metrics["audit"]) if "audit" in metrics else None


def _unsure(unsure: dict[str, float | None]) -> str:
    line = f"unsure about {unsure['share']:.1%} of the papers"
    if unsure["right_if_unsure"] is not None:
        line += f", right on {unsure['right_if_unsure']:.1%} of them"
    if unsure["right_otherwise"] is not None:
        line += f"; right on {unsure['right_otherwise']:.1%} of the others"
    return line


def _worst_and_best(classes: pd.DataFrame) -> list[str]:
    """Two lines about many classes; none about few."""
    if len(classes) <= FEW:
        return []
    worst, best = worst_and_best(classes, _EXTREMES)
    return [
        f"{name + ':':<20}"
        + ", ".join(f"{row['class']} {row['f1']:.0%}" for row in rows.to_dict("records"))
        for name, rows in (("lowest F1", worst), ("highest F1", best[::-1]))
    ]
