"""Papers as token ids: encoded once, kept as tensors on the device.

A batch is an index operation: no tokenizing, no worker processes, no Python loop over papers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arxiv_hybrid.data.table import PaperTable, batches
from arxiv_hybrid.inference.texts import texts
from arxiv_hybrid.models.base import TextName
from arxiv_hybrid.ops import known_token_counts
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.number_file import NumberFile
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import PAD, UNK, Vocabulary

INFERENCE_BATCH, ON_A_GPU = 256, 2048  # papers; a GPU waits for the host with fewer
MOST_IN_MEMORY = 1 << 29  # bytes of the ids of all titles, or of all abstracts


@dataclass(frozen=True)
class Batch:
    """Some papers: title_ids (B, Tt), abstract_ids (B, Ta), labels (B,).

    Ids are padded with 0 on the right, to the longest text of the batch. token_counts: real tokens
    of all titles and of all abstracts. primary (B,): the one class that counts most among several,
    -1 for none; only where it is known. filler: more rows of ids, which only fill the batch up.
    """

    title_ids: Tensor
    abstract_ids: Tensor
    labels: Tensor
    token_counts: tuple[int, int]
    primary: Tensor | None = None
    filler: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def feed(self, model: nn.Module) -> Any:
        """What the model returns for the two texts; a GPU need not count their tokens."""
        with known_token_counts(*self.token_counts, filler=self.filler):
            return model(self.title_ids, self.abstract_ids)


class Papers(Protocol):
    """N papers that give batches, whether they are kept in memory or on disk.

    labels: (N,), or (N, C) bool if a paper may have several classes.
    """

    @property
    def labels(self) -> Tensor:
        """The labels of all papers."""

    def __len__(self) -> int: ...

    def batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        """The papers in `rows`, padded to the longest title and abstract among them."""

    def lengths(self, text: TextName) -> npt.NDArray[np.int64]:
        """Tokens of each title or of each abstract, (N,)."""

    def take(self, rows: npt.NDArray[np.int64]) -> Papers:
        """The papers in `rows`."""


@dataclass(frozen=True)
class EncodedPapers:
    """N papers: title_ids (N, Tt), abstract_ids (N, Ta), labels (N,), all on one device.

    title_lengths (N,) and abstract_lengths (N,) count real tokens; they stay on the host.
    """

    title_ids: Tensor
    abstract_ids: Tensor
    labels: Tensor
    title_lengths: npt.NDArray[np.int64]
    abstract_lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        """The papers in `rows`, trimmed to the longest title and abstract among them."""
        index = _to_device(rows, self.labels.device)
        title_lengths, abstract_lengths = self.title_lengths[rows], self.abstract_lengths[rows]
        return Batch(
            self.title_ids[:, : title_lengths.max()][index],
            self.abstract_ids[:, : abstract_lengths.max()][index],
            self.labels[index],
            (int(title_lengths.sum()), int(abstract_lengths.sum())),
        )

    def lengths(self, text: TextName) -> npt.NDArray[np.int64]:
        """Tokens of each title or of each abstract, (N,)."""
        return {"title": self.title_lengths, "abstract": self.abstract_lengths}[text]

    def take(self, rows: npt.NDArray[np.int64]) -> EncodedPapers:
        """The papers in `rows`, untrimmed."""
        index = _to_device(rows, self.labels.device)
        ids = (self.title_ids[index], self.abstract_ids[index], self.labels[index])
        return EncodedPapers(*ids, self.title_lengths[rows], self.abstract_lengths[rows])


def _to_device(rows: npt.NDArray[np.int64], device: torch.device) -> Tensor:
    """Row numbers as a tensor; the copy to a GPU is asynchronous, from pinned memory."""
    index = torch.from_numpy(rows)
    return index if device.type == "cpu" else index.pin_memory().to(device, non_blocking=True)


def encode_papers(
    papers: PaperTable,
    vocabulary: Vocabulary,
    *,
    title_length: int,
    abstract_length: int,
    device: torch.device,
) -> EncodedPapers:
    """Tokenize and encode the columns title, abstract and label (0 where it is absent).

    Ids of more than `MOST_IN_MEMORY` bytes are in a file where `TMPDIR` says, mapped into memory,
    until they are on a GPU. Raises UserError unless every title and abstract is a string and every
    label a whole number.
    """
    titles, abstracts = (_ids(len(papers), width) for width in (title_length, abstract_length))
    first = 0
    for part in batches(papers):
        rows = slice(first, first + len(part))
        titles[rows] = vocabulary.encode(map(tokenize, texts(part, "title")), title_length)
        abstracts[rows] = vocabulary.encode(map(tokenize, texts(part, "abstract")), abstract_length)
        first += len(part)
    return EncodedPapers(
        title_ids=torch.from_numpy(titles).to(device),
        abstract_ids=torch.from_numpy(abstracts).to(device),
        labels=torch.from_numpy(_labels(papers)).to(device),
        title_lengths=np.count_nonzero(titles, axis=1),
        abstract_lengths=np.count_nonzero(abstracts, axis=1),
    )


def _ids(papers: int, length: int) -> npt.NDArray[np.int32]:
    """An array of padding, (papers, length)."""
    if 4 * papers * length <= MOST_IN_MEMORY:
        return np.full((papers, length), PAD, np.int32)
    file = NumberFile(np.int32)
    file.extend(papers * length)
    return file.array((papers, length))


def _labels(papers: PaperTable) -> npt.NDArray[np.int64]:
    """The numbers of the papers' classes, (N,); 0 without the column label."""
    if "label" not in papers:
        return np.zeros(len(papers), dtype=np.int64)
    values = papers["label"].to_numpy()
    try:
        numbers = values.astype(np.int64)
        exact = bool((numbers == values).all())
    except (ValueError, TypeError, OverflowError):
        exact = False
    if not exact:
        raise UserError("the column label must hold the numbers of classes; rename other labels")
    return numbers


def inference_batch(device: torch.device) -> int:
    """How many papers to classify at once."""
    return INFERENCE_BATCH if device.type == "cpu" else ON_A_GPU


def sorted_batches(
    lengths: npt.NDArray[np.int64], batch_size: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches from short to long papers, for inference."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def occlude_each_word(paper: EncodedPapers) -> tuple[EncodedPapers, list[int]]:
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
