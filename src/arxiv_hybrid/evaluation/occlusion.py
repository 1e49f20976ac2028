"""Occlusion: how much a prediction depends on each word (Zeiler and Fergus 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from arxiv_hybrid.evaluation.attention import Prediction
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.text.vocabulary import PAD, UNK


@dataclass(frozen=True)
class Occlusion(Prediction):
    """A prediction, and how each word of the vocabulary contributes to its likeliest class.

    drops: (word, drop of that class's probability without the word), the largest drop first. A drop
    is negative if the word is evidence against the class.
    """

    drops: list[tuple[str, float]]


def occlusion(classifier: Classifier, title: str, abstract: str) -> Occlusion:
    """Classify a paper, and again for each distinct word with that word replaced by `<UNK>`.

    All occurrences of a word are replaced. Occlusion measures what the prediction depends on;
    attention shows only where the network looked.
    """
    paper = classifier.encode(pd.DataFrame({"title": [title], "abstract": [abstract]}))
    variants, word_ids = _occlude_each_word(paper)
    logits = predict(classifier.model, variants, classifier.device_config)
    probabilities = classifier.calibrated(logits).numpy()
    whole, occluded = probabilities[0], probabilities[1:]
    predicted = int(whole.argmax())
    drops = whole[predicted] - occluded[:, predicted]
    order = np.argsort(-drops, kind="stable")
    words = classifier.vocabulary.words
    return Occlusion(
        **vars(Prediction.of(classifier, whole)),
        drops=[(words[word_ids[i]], float(drops[i])) for i in order],
    )


def _occlude_each_word(paper: EncodedPapers) -> tuple[EncodedPapers, list[int]]:
    """1 + W variants of a paper, and the ids of its W distinct known words.

    The first variant is the paper as it is. In each other variant a word is replaced by `<UNK>`.
    """
    ids = torch.cat([paper.title_ids, paper.abstract_ids], dim=1)
    word_ids = [i for i in ids.unique().tolist() if i not in (PAD, UNK)]
    hidden = torch.tensor([PAD, *word_ids], device=ids.device).unsqueeze(1)  # PAD: hide no word
    rows = ids.expand(len(hidden), -1)
    occluded = torch.where((rows == hidden) & (rows != PAD), UNK, rows)
    lengths = [paper.title_ids.shape[1], paper.abstract_ids.shape[1]]
    title_ids, abstract_ids = occluded.split(lengths, dim=1)
    variants = EncodedPapers(
        title_ids=title_ids,
        abstract_ids=abstract_ids,
        labels=paper.labels.expand(len(hidden)),
        title_lengths=np.repeat(paper.title_lengths, len(hidden)),
        abstract_lengths=np.repeat(paper.abstract_lengths, len(hidden)),
    )
    return variants, word_ids
