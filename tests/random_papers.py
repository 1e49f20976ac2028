"""Random papers with random words, for tests of the audit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from arxiv_hybrid.params import Labels

PRIMARY = Labels.model_validate({"from": "primary", "classes": 3})
WORDS = [f"word{i}" for i in range(3000)]


def random_papers(count: int = 120, words: int = 160, seed: int = 0) -> pd.DataFrame:
    """Labelled papers, alternating between May and June 2025, with `words` words per abstract."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"2505.{i:05}" for i in range(count)],
            "title": [f"A study of {random.choice(WORDS)}" for _ in range(count)],
            "abstract": [" ".join(random.choice(WORDS, words)) for _ in range(count)],
            "label": (labels := random.integers(3, size=count)),
            "labels": [[int(label)] for label in labels],
            "published": [f"2025-{5 + i % 2:02}-01" for i in range(count)],
            "category": "cs.AI",
            "primary_category": "cs.AI",
            "all_categories": "cs.AI,cs.LG",
        }
    )


def split_rows(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The first 80 rows as train, 20 as val, the rest as test."""
    return {"train": rows[:80].copy(), "val": rows[80:100].copy(), "test": rows[100:].copy()}
