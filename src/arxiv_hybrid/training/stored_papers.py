"""Papers that stay on disk: batches are put together from mapped arrays when they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arxiv_hybrid.data.paper_arrays import PaperArrays
from arxiv_hybrid.inference.encoding import Batch, EncodedPapers
from arxiv_hybrid.models.base import TextName
from arxiv_hybrid.text.vocabulary import PAD

_TITLE, _ABSTRACT = 0, 1  # columns of `PaperArrays.lengths`

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredPapers:
    """The papers in `rows` (N,) of `arrays`; a batch has labels (B, C) bool and is on `device`."""

    arrays: PaperArrays
    rows: Rows
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor:
        """The classes of all papers, (N, C) bool; put together at each access."""
        return torch.from_numpy(self.arrays.multi_hot(self.rows)).to(self.device)

    def batch(self, rows: Rows) -> Batch:
        """The papers in `rows` of these, padded to the longest title and abstract among them."""
        papers = self.rows[rows]
        lengths = self.arrays.lengths[papers].astype(np.int64)
        starts = self.arrays.starts[papers]
        titles = self._ids(starts, lengths[:, _TITLE])
        abstracts = self._ids(starts + lengths[:, _TITLE], lengths[:, _ABSTRACT])
        labels = torch.from_numpy(self.arrays.multi_hot(papers))
        primary = torch.from_numpy(self.arrays.primary[papers].astype(np.int64))
        return Batch(
            self._to_device(titles),
            self._to_device(abstracts),
            self._to_device(labels),
            (int(lengths[:, _TITLE].sum()), int(lengths[:, _ABSTRACT].sum())),
            self._to_device(primary),
        )

    def _ids(self, starts: Rows, lengths: Rows) -> Tensor:
        """Token ids (B, T), padded on the right, of texts by start and length."""
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        ids = np.full(mask.shape, PAD, dtype=np.int32)
        ids[mask] = self.arrays.tokens[(starts[:, None] + columns)[mask]]
        return torch.from_numpy(ids)

    def _to_device(self, values: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return values
        return values.pin_memory().to(self.device, non_blocking=True)

    def lengths(self, text: TextName) -> Rows:
        """Tokens of each title or of each abstract, (N,)."""
        column = {"title": _TITLE, "abstract": _ABSTRACT}[text]
        lengths: Rows = self.arrays.lengths[self.rows, column].astype(np.int64)
        return lengths

    def take(self, rows: Rows) -> StoredPapers:
        """The papers in `rows` of these."""
        return replace(self, rows=self.rows[rows])

    def in_memory(self) -> EncodedPapers:
        """These papers as whole matrices, for a few thousand of them."""
        batch = self.batch(np.arange(len(self)))
        lengths = self.lengths("title"), self.lengths("abstract")
        return EncodedPapers(batch.title_ids, batch.abstract_ids, batch.labels, *lengths)
