"""The card of a pre-trained model: what it learned from, what it is worth, how to remake it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH

_FIGURES = {
    "val_precision_at_1": "the likeliest category is listed",
    "val_in_batch_accuracy": "titles matched with their abstract in a batch",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "sample_f1": "F1, averaged over papers",
}


def encoder_card(summary: Mapping[str, Any], figures: Mapping[str, Any], params: str) -> str:
    """The card as Markdown.

    summary: of `sources.corpus.gather`. figures: of the validation papers, by name. params: the
    text of params.yaml, as it was in force.
    """
    shown = [
        f"| {title} | {100 * figures[name]:.1f} % |"
        for name, title in _FIGURES.items()
        if name in figures
    ]
    parts = [
        "# Pre-trained model",
        f"Learned from titles and abstracts of {summary['papers']:,} papers of arXiv"
        + (f" and their {len(summary['classes'])} categories." if figures["classes"] else "."),
        "## Papers",
        _table("file", {n: source["kept"] for n, source in summary["sources"].items()}),
        _table("year", years(summary["months"])),
        _exclusions(summary),
        "## Figures",
        f"On {figures['validation_papers']:,} papers that were held back from training. "
        "Temperature and thresholds were fitted on them, so F1 is slightly optimistic.",
        "\n".join(["| measure | value |", "|---|---|", *shown]),
        "## Licence",
        "arXiv's metadata, titles and abstracts included, is in the public domain (CC0). "
        "This folder holds ids of papers, but none of their texts.",
        "## How to remake it",
        "```sh\ndvc repro pretraining/dvc.yaml\n```",
        "with this `pretraining/params.yaml`:",
        f"```yaml\n{params.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def years(months: Mapping[str, int]) -> dict[str, int]:
    """Papers by year, from papers by month; those of an unknown month come last."""
    counts: Counter[str] = Counter()
    for month, papers in months.items():
        counts[month if month == UNKNOWN_MONTH else month[:4]] += papers
    return dict(sorted(counts.items()))


def _table(name: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {value.replace('|', '-')} | {count:,} |" for value, count in counts.items()]
    return "\n".join([f"| {name} | papers |", "|---|---|", *rows])


def _exclusions(summary: Mapping[str, Any]) -> str:
    """What was left out, by reason, over all files."""
    total: Counter[str] = Counter()
    for source in summary["sources"].values():
        total.update(source["left_out"])
    if not total:
        return ""
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in sorted(total.items()))
    return f"Left out: {reasons}."
