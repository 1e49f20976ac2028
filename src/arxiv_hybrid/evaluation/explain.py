"""Which words a classifier looked at."""

from __future__ import annotations

import pandas as pd
import torch

from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.training.checkpoint import Classifier

TITLE_WORDS, ABSTRACT_WORDS = 20, 50


@torch.inference_mode()
def explain(classifier: Classifier, papers: pd.DataFrame) -> pd.DataFrame:
    """Attention over the first 20 title and 50 abstract words of each paper.

    One row a word: id, part (`title` or `abstract`), position from 1, token, weight, and the
    paper's actual and predicted class. Weights of a part sum to 1 over all its words, so
    those of a long abstract's first 50 sum to less.
    """
    papers = papers.reset_index(drop=True)
    classifier.model.eval()
    title_ids, abstract_ids, _ = classifier.encode(papers).batch(torch.arange(len(papers)).numpy())
    with classifier.machine.autocast():
        logits, maps = classifier.model(title_ids, abstract_ids)
    predicted = logits.argmax(1).tolist()
    rows = []
    for number, paper in papers.iterrows():
        for part, limit in (("title", TITLE_WORDS), ("abstract", ABSTRACT_WORDS)):
            tokens = tokenize(paper[part])[:limit]
            weights = maps[f"{part}_attention"][int(str(number))].tolist()
            rows += [
                {
                    "id": paper["id"],
                    "part": part,
                    "position": position + 1,
                    "token": token,
                    "weight": weight,
                    "actual": classifier.facts.classes[paper["label"]],
                    "predicted": classifier.facts.classes[predicted[int(str(number))]],
                }
                for position, (token, weight) in enumerate(zip(tokens, weights, strict=False))
            ]
    return pd.DataFrame(rows)
