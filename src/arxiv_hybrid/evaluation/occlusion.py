"""Which words a prediction rests on: what changes when a word is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from arxiv_hybrid.evaluation.attention import Prediction
from arxiv_hybrid.inference.calibration import probabilities
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.text.vocabulary import PAD, UNK


@dataclass(frozen=True)
class Occlusion(Prediction):
    """A verdict on a paper, and each known word's effect on the predicted class.

    words: (word, fall of the predicted class's probability without it), the largest fall first;
    below 0 where a word speaks against the class.
    """

    words: list[tuple[str, float]]


def occlusion(classifier: Classifier, title: str, abstract: str) -> Occlusion:
    """Classify a paper once as it is and once for each distinct word made `<UNK>` throughout.

    This occlusion (Zeiler and Fergus 2014) tells what the prediction rests on, where attention
    tells only where the network looked.
    """
    paper = classifier.encode(pd.DataFrame({"title": [title], "abstract": [abstract]}))
    both = torch.cat([paper.title_ids, paper.abstract_ids], dim=1)
    words = [i for i in both.unique().tolist() if i not in (PAD, UNK)]
    hidden = torch.tensor([PAD, *words], device=both.device).unsqueeze(1)  # first, nothing is
    rows = both.expand(len(hidden), -1)
    ids = torch.where((rows == hidden) & (rows != PAD), UNK, rows)
    title_ids, abstract_ids = ids.split([paper.title_ids.shape[1], paper.abstract_ids.shape[1]], 1)
    variants = EncodedPapers(
        title_ids=title_ids,
        abstract_ids=abstract_ids,
        labels=paper.labels.expand(len(hidden)),
        title_lengths=np.repeat(paper.title_lengths, len(hidden)),
        abstract_lengths=np.repeat(paper.abstract_lengths, len(hidden)),
    )
    logits = predict(classifier.model, variants, classifier.device_config)
    found = probabilities(logits, classifier.config.temperature).numpy()
    best = int(found[0].argmax())
    falls = found[0, best] - found[1:, best]
    order = np.argsort(-falls, kind="stable")
    return Occlusion(
        dict(zip(classifier.config.classes, found[0].tolist(), strict=True)),
        [(classifier.vocabulary.words[words[i]], float(falls[i])) for i in order],
    )
