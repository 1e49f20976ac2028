"""Many papers on disk as flat arrays of token ids and labels, mapped into memory, not read.

A folder holds `tokens.npy` (the tokens of all titles and abstracts, one after the other),
`lengths.npy`, `labels.npy`, `label_counts.npy` and `primary.npy`, `ids.txt`, `vocab.txt`, and
`papers.json`: the classes, a summary, and the digests of all files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_lines, require, write_json

TOKENS, LENGTHS, LABELS, LABEL_COUNTS, PRIMARY = (
    f"{name}.npy" for name in ("tokens", "lengths", "labels", "label_counts", "primary")
)
IDS, WORDS, SUMMARY = "ids.txt", "vocab.txt", "papers.json"
FILES = (TOKENS, LENGTHS, LABELS, LABEL_COUNTS, PRIMARY, IDS, WORDS)

Integers = npt.NDArray[np.integer[Any]]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PaperArrays:
    """N papers: token ids, and the numbers of their classes in CSR form.

    tokens (T,): titles and abstracts of all papers; no text is empty. lengths (N, 2): tokens of
    each title and abstract. labels (L,) and label_counts (N,): class numbers of each paper; a paper
    may have none. primary (N,): the class of its first category; -1 if that is no class. words: the
    vocabulary, special entries included. summary: what the stage that
    wrote the folder counted. digest: of the whole folder.
    """

    tokens: Integers
    lengths: Integers
    labels: Integers
    label_counts: Integers
    primary: Integers
    ids: list[str]
    words: list[str]
    classes: list[str]
    summary: dict[str, Any]
    digest: str

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> Rows:
        """Where each paper's title begins in `tokens`, (N,)."""
        return _starts(self.lengths.sum(1, dtype=np.int64))

    @cached_property
    def label_starts(self) -> Rows:
        """Where each paper's classes begin in `labels`, (N,)."""
        return _starts(self.label_counts.astype(np.int64))

    def held_back(self, share: float) -> npt.NDArray[np.bool_]:
        """Which papers are for validation, (N,): by their ids, whatever other papers there are."""
        return np.array([_place(name) < share for name in self.ids], dtype=bool)

    def multi_hot(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """The classes of the papers in `rows`, (len(rows), C)."""
        listed = np.zeros((len(rows), len(self.classes)), dtype=bool)
        counts = self.label_counts[rows].astype(np.int64)
        places = np.repeat(self.label_starts[rows] - _starts(counts), counts)
        paper = np.repeat(np.arange(len(rows)), counts)
        listed[paper, self.labels[places + np.arange(len(places))]] = True
        return listed


def _place(identifier: str) -> float:
    """A number from 0 to 1, evenly spread over ids."""
    digest = hashlib.blake2b(identifier.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _starts(counts: Rows) -> Rows:
    return np.cumsum(counts) - counts


def bind(folder: Path, classes: list[str], summary: dict[str, Any]) -> None:
    """Write `papers.json`, after the other files of the folder, with their digests."""
    content = {"classes": classes, "summary": summary}
    write_json(folder / SUMMARY, content, bind=[folder / name for name in FILES])


def load_arrays(folder: Path) -> PaperArrays:
    """The papers in a folder. Raises UserError if a file is missing, damaged or exchanged."""
    require(folder / SUMMARY)
    try:
        content = json.loads((folder / SUMMARY).read_bytes())
        held = content[digests.KEY]
        digests.check_file(folder / SUMMARY, held)
        tokens, lengths, labels, label_counts, primary = (
            np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
            for name in (TOKENS, LENGTHS, LABELS, LABEL_COUNTS, PRIMARY)
        )
        return PaperArrays(
            tokens,
            lengths,
            labels,
            label_counts,
            primary,
            ids=read_lines(folder / IDS),
            words=read_lines(folder / WORDS),
            classes=content["classes"],
            summary=content["summary"],
            digest=held[digests.OWN][:16],
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{folder}: not as the stage papers wrote it: {str(error)[:200]}; run it again with "
            "`dvc repro -f pretraining/dvc.yaml:papers`"
        ) from None
