"""The papers of several files as one corpus of token ids: each paper once, held-out ones never.

Every file is read once, as a stream. What stays in memory is an id and a digest for each paper and
every distinct word; tokens go to disk (`data.paper_arrays`).
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.data import paper_arrays
from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH, text_key
from arxiv_hybrid.sources.paper_files import ListedPaper, Read, papers_in
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic, write_lines
from arxiv_hybrid.taxonomy.categories import categories
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import SPECIAL, UNK

AT_ONCE = 4 << 20  # tokens in memory
FEWEST = 32  # papers; with fewer, there is too little to learn
UNWRITTEN = ".tokens.unfinished"  # tokens before the vocabulary is known
# reasons to leave a paper out
ID_HELD_OUT, TEXT_HELD_OUT = "id in leave_out", "text in leave_out"
ID_REPEATED, TEXT_REPEATED = "repeated id", "repeated text"
TOO_LATE, NO_MONTH = "after until", "unknown month"

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CorpusSettings:
    """How to make a corpus.

    vocabulary: words kept at most, the most frequent ones, if they occur `min_freq` times.
    title_length, abstract_length: tokens kept of a text. min_papers: a category of fewer papers is
    no class. until: the last month, YYYY-MM; None for no limit.
    """

    vocabulary: int
    min_freq: int
    title_length: int
    abstract_length: int
    min_papers: int
    until: str | None = None


@dataclass
class Seen:
    """Papers by id and by text; a text is known by 64 bits of a hash of its words."""

    ids: set[str] = field(default_factory=set)
    texts: set[int] = field(default_factory=set)

    def add(self, identifier: str, text: int | None) -> None:
        """Remember a paper; text: see `text_digest`."""
        self.ids.add(identifier)
        if text is not None:
            self.texts.add(text)


def text_digest(paper: ListedPaper) -> int | None:
    """A hash of the words of title and abstract; None if one of them is missing."""
    if not (paper.title and paper.abstract):
        return None
    key = text_key(f"{paper.title} {paper.abstract}").encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def gather(
    texts: Sequence[Path], leave_out: Sequence[Path], settings: CorpusSettings, folder: Path
) -> dict[str, Any]:
    """Write the papers of `texts` into `folder`, and return the summary of what was read.

    leave_out: files of papers to leave out, by id or by text. A paper whose id stands in several
    files counts once, with the categories of all of them. Raises UserError if a file cannot be
    read, or fewer than `FEWEST` papers are left; `folder` is then as it was.
    """
    held_out, excluded = _held_out(leave_out)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = _Corpus(settings, held_out)
    sources: dict[str, Any] = {}
    with _temporary(folder / UNWRITTEN) as tokens:
        for path, name in zip(texts, _names(texts), strict=True):
            sources[name] = corpus.add_file(path, tokens)
        if len(corpus.ids) < FEWEST:
            raise UserError(
                f"{', '.join(sources)}: {len(corpus.ids)} papers to learn from, need {FEWEST} "
                "(texts)"
            )
        words = corpus.vocabulary()
        numbers = corpus.numbers(words)
        _write_tokens(folder / paper_arrays.TOKENS, tokens, numbers, corpus.size)
    classes = corpus.write(folder)
    write_lines(folder / paper_arrays.WORDS, words)
    summary = {
        "papers": len(corpus.ids),
        "tokens": corpus.size,
        "words": len(words),
        "distinct_words": len(corpus.index) - 1,
        "without_label": int((corpus.label_counts == 0).sum()),
        "sources": sources,
        "leave_out": excluded,
        "months": {month: corpus.months[month] for month in sorted(corpus.months)},
        "classes": {name: int(count) for name, count in classes.items()},
        "rare_categories": corpus.rare,
    }
    paper_arrays.bind(folder, list(classes), summary)
    return summary


def _held_out(files: Sequence[Path]) -> tuple[Seen, dict[str, Any]]:
    """The papers in the files of `leave_out`, and what was read of each."""
    seen, counts = Seen(), {}
    for path, name in zip(files, _names(files), strict=True):
        read = Read()
        for paper in papers_in(path, option="leave_out", read=read, texts=False):
            seen.add(paper.id, text_digest(paper))
        counts[name] = _shown(read)
    return seen, counts


def _shown(read: Read) -> dict[str, Any]:
    return {**asdict(read), "left_out": dict(sorted(read.left_out.items()))}


def _names(files: Sequence[Path]) -> list[str]:
    """The names of files without their folders; those that repeat get a number."""
    times: Counter[str] = Counter()
    names = []
    for path in files:
        times[path.name] += 1
        names.append(path.name if times[path.name] == 1 else f"{path.name} ({times[path.name]})")
    return names


class _Index(dict[str, int]):
    """Numbers of words in the order of their first use; as a dict, its look-ups run in C."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


class _Corpus:
    """The papers kept so far. Words have provisional numbers, by first use; 0 is `<UNK>`."""

    def __init__(self, settings: CorpusSettings, held_out: Seen) -> None:
        self.settings, self.held_out, self.seen = settings, held_out, Seen()
        self.ids: list[str] = []
        self.months: Counter[str] = Counter()
        self.index = _Index({SPECIAL[UNK]: 0})
        self.counts: Integers = np.zeros(1, dtype=np.int64)  # of each word
        self.size = 0  # tokens
        self._rows: dict[str, int] = {}  # of papers, by id
        self._buffer, self._lengths = array("i"), array("H")
        self._categories = _Index()
        self._label_rows, self._label_numbers = array("I"), array("H")
        self._primary = array("i")  # the number of each paper's first category; -1 for none
        self.label_counts: Integers = np.zeros(0, dtype=np.uint16)
        self.rare: dict[str, int] = {}

    def add_file(self, path: Path, tokens: Any) -> dict[str, Any]:
        """Add the papers of a file; return what was read of it."""
        read, before, months = Read(), len(self.ids), Counter[str]()
        for paper in papers_in(path, option="texts", read=read):
            text = text_digest(paper)
            if reason := self._reason(paper, text):
                read.left_out[reason] += 1
                if reason == ID_REPEATED:
                    self._add_labels(self._rows.get(paper.id), paper)
                continue
            self._add(paper, text)
            months[paper.month] += 1
            if len(self._buffer) >= AT_ONCE:
                self._flush(tokens)
        self._flush(tokens)
        kept = len(self.ids) - before
        return {**_shown(read), "kept": kept, "months": dict(sorted(months.items()))}

    def _reason(self, paper: ListedPaper, text: int | None) -> str | None:
        """Why a paper is left out; None if it is not."""
        until = self.settings.until
        if paper.id in self.held_out.ids:
            return ID_HELD_OUT
        if text in self.held_out.texts:
            return TEXT_HELD_OUT
        if until is not None and paper.month == UNKNOWN_MONTH:
            return NO_MONTH
        if until is not None and paper.month > until:
            return TOO_LATE
        if paper.id in self.seen.ids:
            return ID_REPEATED
        return TEXT_REPEATED if text in self.seen.texts else None

    def _add(self, paper: ListedPaper, text: int | None) -> None:
        row = self._rows[paper.id] = len(self.ids)
        self.seen.add(paper.id, text)
        self.ids.append(paper.id)
        self.months[paper.month] += 1
        limits = (self.settings.title_length, self.settings.abstract_length)
        for content, limit in zip((paper.title, paper.abstract), limits, strict=True):
            words = tokenize(content)[:limit] or [SPECIAL[UNK]]  # as Vocabulary.encode
            self._buffer.extend(map(self.index.__getitem__, words))
            self._lengths.append(len(words))
        self._add_labels(row, paper)
        self._primary.append(self._categories[paper.categories[0]] if paper.categories else -1)

    def _add_labels(self, row: int | None, paper: ListedPaper) -> None:
        if row is not None:
            self._label_rows.extend([row] * len(paper.categories))
            self._label_numbers.extend(map(self._categories.__getitem__, paper.categories))

    def _flush(self, tokens: Any) -> None:
        """Count the tokens in the buffer and write them to disk."""
        if not self._buffer:
            return
        counts = np.bincount(_numpy(self._buffer), minlength=len(self.index))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        self.size += len(self._buffer)
        self._buffer.tofile(tokens)
        self._buffer = array("i")

    def vocabulary(self) -> list[str]:
        """The words that are kept, special entries first, then by descending frequency."""
        frequent = np.flatnonzero(self.counts >= self.settings.min_freq).tolist()
        known = list(self.index)
        ranked = sorted((-int(self.counts[number]), known[number]) for number in frequent if number)
        return [*SPECIAL, *(word for _, word in ranked[: self.settings.vocabulary])]

    def numbers(self, words: list[str]) -> Integers:
        """The final number of each provisional one, in the smallest type that holds all."""
        kind: Any = np.uint16 if len(words) <= 1 << 16 else np.int32
        numbers: Integers = np.full(len(self.index), UNK, dtype=kind)
        for number, word in enumerate(words[len(SPECIAL) :], start=len(SPECIAL)):
            numbers[self.index[word]] = number
        return numbers

    def write(self, folder: Path) -> dict[str, int]:
        """Write ids, lengths and labels; return the papers of each class."""
        names = list(self._categories)
        # a pair of paper and category counts once, whatever the number of files that have it
        pairs = np.unique(_numpy(self._label_rows) * (len(names) + 1) + _numpy(self._label_numbers))
        rows, numbers = np.divmod(pairs, len(names) + 1)
        papers = np.bincount(numbers, minlength=len(names)).tolist()
        order = {name: place for place, name in enumerate(categories())}
        ranked = sorted(names, key=lambda name: (order.get(name, len(order)), name))
        count = dict(zip(names, papers, strict=True))
        kept = [name for name in ranked if count[name] >= self.settings.min_papers]
        self.rare = {name: count[name] for name in ranked if name not in set(kept)}
        places = {name: place for place, name in enumerate(kept)}
        place_of = np.array([*(places.get(name, -1) for name in names), -1])
        final = place_of[numbers]
        rows, final = rows[final >= 0], final[final >= 0]
        order_of_labels = np.lexsort((final, rows))
        labels = final[order_of_labels].astype(np.uint16)
        self.label_counts = np.bincount(rows, minlength=len(self.ids)).astype(np.uint16)
        lengths = _numpy(self._lengths).astype(np.uint16)
        _save(folder / paper_arrays.LENGTHS, lengths.reshape(-1, 2))
        _save(folder / paper_arrays.LABELS, labels)
        _save(folder / paper_arrays.LABEL_COUNTS, self.label_counts)
        _save(folder / paper_arrays.PRIMARY, place_of[_numpy(self._primary)].astype(np.int16))
        write_lines(folder / paper_arrays.IDS, self.ids)
        return {name: count[name] for name in kept}


def _numpy(values: array[int]) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@contextmanager
def _temporary(path: Path) -> Iterator[Any]:
    """A file that is removed at the end, and if the process was killed, by its next run."""
    try:
        with path.open("w+b") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _write_tokens(path: Path, tokens: Any, numbers: Integers, size: int) -> None:
    """Replace provisional numbers by final ones, some at a time."""
    tokens.seek(0)
    with atomic(path) as temporary, temporary.open("wb") as file:
        header = {"descr": numbers.dtype.str, "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        while len(part := np.fromfile(tokens, np.int32, AT_ONCE)):
            numbers[part].tofile(file)


def _save(path: Path, values: Integers) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)
