"""The card of a pre-trained model says what it learned from and how to remake it."""

from __future__ import annotations

from typing import Any

from arxiv_hybrid.reporting.encoder_card import encoder_card, years

SUMMARY: dict[str, Any] = {
    "papers": 1300,
    "classes": {"cs.LG": 900, "math.CO": 400},
    "months": {"1999-12": 100, "2024-01": 500, "2024-02": 600, "unknown": 100},
    "sources": {
        "a.json.xz": {"kept": 1200, "left_out": {"repeated id": 7, "text in leave_out": 2}},
        "b|c.csv": {"kept": 100, "left_out": {"repeated id": 1000}},
    },
}
PARAMS = {"texts": ["/home/me/a.json.xz", "b.csv"], "leave_out": "../mine.csv", "dim": 200,
          "tracking": {"experiment": "x"}}  # fmt: skip
FIGURES = {
    "validation_papers": 130,
    "classes": 2,
    "val_precision_at_1": 0.7,
    "precision_at_1": 0.7123,
    "micro_f1": 0.5,
    "exact": {"precision_at_1": 0.7131},
}


def test_papers_are_counted_by_year() -> None:
    assert years(SUMMARY["months"]) == {"1999": 100, "2024": 1100, "unknown": 100}


def test_the_card_has_data_figures_licence_and_the_command() -> None:
    card = encoder_card(SUMMARY, FIGURES, PARAMS)
    for part in (
        "1,300 papers of arXiv and their 2 categories",
        "| a.json.xz | 1,200 |",
        "| b-c.csv | 100 |",
        "| 2024 | 1,100 |",
        "Left out: repeated id: 1,007; text in leave_out: 2.",
        "On 130 papers",
        "| the likeliest category is listed | 71.23 % | 71.31 % |",
        "| micro-F1 | 50.00 % |",
        "CC0",
        "dvc repro pretraining/dvc.yaml",
        "```yaml\ntexts: [a.json.xz, b.csv]\nleave_out: [mine.csv]\ndim: 200\n```",
    ):
        assert part in card, part
    assert "macro-F1" not in card, "not measured"
    assert "/home" not in card, "a folder of this machine"
    assert "experiment" not in card


def test_a_model_without_categories_says_so() -> None:
    figures = {"validation_papers": 130, "classes": 0, "val_in_batch_accuracy": 0.8}
    summary = {**SUMMARY, "sources": {"a.json": {"kept": 1300, "left_out": {}}}}
    card = encoder_card(summary, figures, {"texts": "a.json", "leave_out": None, "dim": 2})
    assert "1,300 papers of arXiv.\n" in card
    assert "| titles matched with their abstract in a batch | 80.00 % |" in card
    assert "Left out" not in card
    assert "texts: [a.json]\nleave_out: null\ndim: 2\n" in card
