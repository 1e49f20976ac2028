"""Papers as token ids: encoded once, kept as tensors on the device.

A batch is an index operation: no tokenizing, no worker processes, no Python loop over papers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from arxiv_hybrid.models.base import Text
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import PAD, Vocabulary

INFERENCE_BATCH = 256


@dataclass(frozen=True)
class EncodedPapers:
    """N papers: title_ids (N, Tt), abstract_ids (N, Ta), labels (N,), all on one device."""

    title_ids: Tensor
    abstract_ids: Tensor
    labels: Tensor
    title_lengths: npt.NDArray[np.int64]
    abstract_lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Title ids, abstract ids and labels of some rows, trimmed to the longest among them."""
        index = _to_device(rows, self.labels.device)
        titles = self.title_ids[:, : self.title_lengths[rows].max()]
        abstracts = self.abstract_ids[:, : self.abstract_lengths[rows].max()]
        return titles[index], abstracts[index], self.labels[index]

    def words(self, rows: npt.NDArray[np.int64]) -> tuple[int, int]:
        """How many words the titles and the abstracts of some rows have."""
        return int(self.title_lengths[rows].sum()), int(self.abstract_lengths[rows].sum())

    def lengths(self, text: Text) -> npt.NDArray[np.int64]:
        """How many words each title or each abstract has, (N,)."""
        return {"title": self.title_lengths, "abstract": self.abstract_lengths}[text]

    def take(self, rows: npt.NDArray[np.int64]) -> EncodedPapers:
        """Some of the papers."""
        index = _to_device(rows, self.labels.device)
        ids = (self.title_ids[index], self.abstract_ids[index], self.labels[index])
        return EncodedPapers(*ids, self.title_lengths[rows], self.abstract_lengths[rows])


def _to_device(rows: npt.NDArray[np.int64], device: torch.device) -> Tensor:
    """Row numbers as a tensor; from pinned memory a GPU fetches them while the host goes on."""
    index = torch.from_numpy(rows)
    return index if device.type == "cpu" else index.pin_memory().to(device, non_blocking=True)


def encode_papers(
    papers: pd.DataFrame,
    vocabulary: Vocabulary,
    *,
    title_length: int,
    abstract_length: int,
    device: torch.device,
) -> EncodedPapers:
    """Tokenize and encode the columns title, abstract and label (0 where it is absent)."""
    titles = vocabulary.encode(map(tokenize, papers["title"]), title_length)
    abstracts = vocabulary.encode(map(tokenize, papers["abstract"]), abstract_length)
    labels = papers["label"] if "label" in papers else pd.Series(np.zeros(len(papers)))
    return EncodedPapers(
        title_ids=torch.from_numpy(titles).to(device),
        abstract_ids=torch.from_numpy(abstracts).to(device),
        labels=torch.tensor(labels.to_numpy(dtype=np.int64)).to(device),
        title_lengths=(titles != PAD).sum(1),
        abstract_lengths=(abstracts != PAD).sum(1),
    )


def sorted_batches(
    lengths: npt.NDArray[np.int64], batch_size: int = INFERENCE_BATCH
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches from short to long papers, for inference."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
