"""The card of a pre-trained model: what it learned from, what it is worth, how to remake it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH
from arxiv_hybrid.evaluation.multi_label import MEASURES, scores
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.training.encoder import TrainedEncoder

_FIGURES = {
    "precision_at_1": "the likeliest category is listed",
    "val_in_batch_accuracy": "titles matched with their abstract in a batch",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "sample_f1": "F1, averaged over papers",
}


def figures_of(encoder: TrainedEncoder) -> dict[str, Any]:
    """The figures of the validation papers, by name; `exact` has those before rounding."""
    model, best = encoder.classifier, encoder.history.best_epoch
    figures = {
        "papers": encoder.papers,
        "validation_papers": len(encoder.listed),
        "words": len(model.vocabulary),
        "classes": len(model.config.classes),
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "device": model.device_config.device.type,
        "precision": model.device_config.precision,
        **{name: value for name, value in best.metrics.items() if name.startswith("val_")},
    }
    if model.config.classes:
        rounded, exact = (
            scores(encoder.listed, Predictions(*predicted), model.config.classes)
            for predicted in (encoder.predicted, encoder.exact)
        )
        figures |= {name: rounded[name] for name in MEASURES}
        figures["exact"] = {name: exact[name] for name in MEASURES}
    return figures


def encoder_card(
    summary: Mapping[str, Any], figures: Mapping[str, Any], params: Mapping[str, Any]
) -> str:
    """The card as Markdown.

    summary: of `sources.corpus.gather`. figures: of `figures_of`. params: the
    content of params.yaml; files are named without their folders, which others do not have.
    """
    exact = figures.get("exact", {})
    shown = [
        f"| {title} | {100 * figures[name]:.2f} % | {_percent(exact.get(name))} |"
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
        "\n".join(["| measure | value | before rounding weights |", "|---|---|---|", *shown]),
        "## Licence",
        "arXiv's metadata, titles and abstracts included, is in the public domain (CC0). "
        "This folder holds ids of papers, but none of their texts.",
        "## How to remake it",
        "```sh\ndvc repro pretraining/dvc.yaml\n```",
        "with this `pretraining/params.yaml`:",
        f"```yaml\n{_without_folders(params)}```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _without_folders(params: Mapping[str, Any]) -> str:
    """The parameters as YAML, without those of logging."""
    shown = {name: value for name, value in params.items() if name != "tracking"}
    for name in ("texts", "leave_out"):
        files = shown.get(name) or []
        files = [files] if isinstance(files, str) else files
        shown[name] = [Path(file).name for file in files] or None
    return yaml.safe_dump(shown, sort_keys=False, default_flow_style=None)


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
