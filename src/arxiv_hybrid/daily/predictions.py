"""Predictions for papers of a store, one file for each day on which papers arrived."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from arxiv_hybrid.audit.monitoring import COLUMNS, observations
from arxiv_hybrid.daily.store import Stored
from arxiv_hybrid.data.identifiers import month_of
from arxiv_hybrid.inference import paper_ids
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.inference.model_config import CATEGORY, PAPERS, UNSURE
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.texts import TEXTS
from arxiv_hybrid.system.cells import spreadsheet_safe
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_bytes
from arxiv_hybrid.system.identity import remove_leftovers_of
from arxiv_hybrid.system.nested import DECIMALS

# after the columns of `predict --output`: the paper's classes by its categories; the probability of
# the likeliest one, and whether that is among them; the share of unknown words; whether the checks
# count the paper; the model's digest
EXTRA = ("actual", "confidence", "right", "unknown_words", "counted", "model")
CHUNK = 4096  # papers in memory as features


@dataclass(frozen=True)
class Learned:
    """Which papers a model may have learned from.

    origin: see `Origin`. ids: of its papers, if the folder holds them. looked: a day on which arXiv
    was asked for all papers submitted since `since`; what arrives later was not public then.
    """

    origin: Origin | None
    ids: frozenset[str] | None = None
    looked: date | None = None
    since: date | None = None

    @classmethod
    def read(cls, folder: Path, origin: Origin | None) -> Learned:
        """Of the model in a folder."""
        path = folder / PAPERS
        return cls(origin, paper_ids.unpack_ids(path.read_bytes()) if path.is_file() else None)

    def may_include(self, paper: Stored) -> bool:
        """Whether the model may have learned from a paper; if in doubt, yes."""
        origin = self.origin
        if self.ids is not None:
            return paper.id in self.ids
        if origin is None:
            return True
        if origin.synthetic:
            return False
        if origin.trained:
            trained = date.fromisoformat(origin.trained)
            looked, since = self.looked, self.since
            not_public = looked and since and looked > trained and paper.published >= since
            if paper.published > trained or not_public:
                return False
        later = month_of(paper.id, paper.published.isoformat()) > origin.last_month
        return not (origin.last_month and not origin.parent and later)


@dataclass
class Classified:
    """What became of new papers: how many were classified, and how many of them are not counted."""

    papers: int = 0
    learned: int = 0  # the model may have learned from them
    outside: int = 0  # of no class of the model, or unlike those of its test
    files: tuple[Path, ...] = ()


ClassesOf = Callable[[Collection[str]], frozenset[str]]  # of a paper, by its categories


def texts_of(papers: Iterable[Stored]) -> pd.DataFrame:
    """The columns title and abstract, as classifiers read them."""
    return pd.DataFrame([(paper.title, paper.abstract) for paper in papers], columns=list(TEXTS))


def missing(folder: Path, papers: Iterable[Stored]) -> dict[date, list[Stored]]:
    """The papers without a prediction in `folder`, by the day on which they arrived."""
    by_day: dict[date, list[Stored]] = {}
    for paper in papers:
        by_day.setdefault(paper.arrived, []).append(paper)
    done = {
        day: {row["id"] for path in _files(folder, day) for row in _rows(path)} for day in by_day
    }
    left = {day: [p for p in group if p.id not in done[day]] for day, group in by_day.items()}
    return {day: group for day, group in left.items() if group}


def classify_days(
    classifier: TextClassifier,
    digest: str,
    by_day: dict[date, list[Stored]],
    folder: Path,
    classes_of: ClassesOf | None,
    learned: Learned,
) -> Classified:
    """Add predictions of new papers to the file of each day, atomically.

    digest: of the model. classes_of: None if its classes are not made of categories.
    """
    outcome = Classified()
    for day, papers in sorted(by_day.items()):
        chunks = [papers[start : start + CHUNK] for start in range(0, len(papers), CHUNK)]
        tables = [
            _predicted(classifier, digest, chunk, classes_of, learned, outcome) for chunk in chunks
        ]
        outcome.files += (_append(folder, day, digest, pd.concat(tables)),)
    return outcome


def _predicted(
    classifier: TextClassifier,
    digest: str,
    papers: list[Stored],
    classes_of: ClassesOf | None,
    learned: Learned,
    outcome: Classified,
) -> pd.DataFrame:
    texts = texts_of(papers)
    table = classifier.classify(texts)
    names = classifier.config.classes
    actual = [classes_of(paper.categories) for paper in papers] if classes_of else None
    observed = observations(
        names,
        table.iloc[:, -len(names) :].to_numpy(np.float64),
        table[UNSURE].to_numpy(bool),
        classifier.unknown_words(texts),
        actual,
    )
    known = np.array([learned.may_include(paper) for paper in papers], bool)
    outside = np.array([actual is not None and not actual[n] for n in range(len(papers))], bool)
    outcome.papers += len(papers)
    outcome.learned += int(known.sum())
    outcome.outside += int((outside & ~known).sum())
    counted = ~known & ~outside
    nothing: list[frozenset[str]] = [frozenset()] * len(papers)
    table.insert(0, "id", [paper.id for paper in papers])
    # beside the classes, which may have any name
    extra = pd.DataFrame(
        {
            "actual": [";".join(sorted(classes)) for classes in actual or nothing],
            "confidence": observed["confidence"],
            "right": observed["right"].where(pd.Series(counted)),
            "unknown_words": observed["unknown_words"],
            "counted": counted,
            "model": digest,
        }
    )
    return pd.concat([table, extra], axis=1)


def _append(folder: Path, day: date, digest: str, table: pd.DataFrame) -> Path:
    """Add rows to the file of a day, or to a second one if a model of other columns wrote it."""
    text = spreadsheet_safe(table).to_csv(
        index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n"
    )
    header, _, rows = text.partition("\n")
    path = folder / f"{day}.csv"
    remove_leftovers_of(path)
    before = path.read_bytes() if path.is_file() else b""
    if before and before.partition(b"\n")[0].decode() != header:
        path = folder / f"{day}.{digest[:8]}.csv"
        before = path.read_bytes() if path.is_file() else b""
    write_bytes(path, (before or f"{header}\n".encode()) + rows.encode())
    return path


def recent(folder: Path, until: date, days: int, digest: str) -> pd.DataFrame:
    """What the checks count of the papers that arrived in the last days, by a model's predictions.

    Columns: `monitoring.COLUMNS`, and age, the number of days before `until`.
    """
    rows = [
        {**row, "age": age}
        for age in range(days)
        for path in _files(folder, until - timedelta(days=age))
        for row in _rows(path)
        if row["counted"] == "True" and row["model"] == digest
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "age"])
    table["unsure"] = table["unsure"] == "True"
    table["right"] = table["right"].replace("", "nan")
    return table.astype({"confidence": float, "right": float, "unknown_words": float, "age": int})


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """The id of each row, and what the checks need of it, as text."""
    with _readable(path), path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if header[-len(EXTRA) :] != [*EXTRA]:
            raise ValueError(f"the last columns are not {', '.join(EXTRA)}")
        places = {name: len(header) - len(EXTRA) + n for n, name in enumerate(EXTRA)}
        first = {"id": "id", "predicted": CATEGORY, "unsure": UNSURE}
        places |= {name: header.index(column) for name, column in first.items()}
        for line in lines:
            yield {name: line[place] for name, place in places.items()}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, csv.Error) as error:
        raise UserError(
            f"{path}: not predictions as update wrote them: {str(error)[:200]}; delete the file, "
            "and the next run classifies the papers of that day again"
        ) from None


def _files(folder: Path, day: date) -> Iterator[Path]:
    """The files with predictions for papers that arrived on a day."""
    yield from sorted(folder.glob(f"{day}.csv"))
    yield from sorted(folder.glob(f"{day}.????????.csv"))
