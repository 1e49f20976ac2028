"""Alarms: whether a model does on new papers as it did on its test papers.

Four measures of the papers of a window are compared with those of the test. An alarm needs two
things: the difference exceeds a margin that matters, and chance does not explain the excess. So a
model that is one point worse on ten thousand papers raises none.

The mix of predicted classes is compared with that of the weeks before, not of the test: many tests
have equal numbers of papers of each class, as no day has.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import split_categories, unaliased

WINDOWS = (7, 28)  # days
FEWEST = 200  # papers in a window; with fewer there is no check
# if nothing has changed, or no more than the margins, a month of daily checks raises an alarm with
# at most this probability: Bonferroni over days, windows and bounds, which may depend on each other
FALSE_ALARM, DAYS = 0.01, 30
_BOUNDS = 5 * len(WINDOWS) + 1  # calibration has two in each window, the mix of classes one in all
LEVEL = FALSE_ALARM / (DAYS * _BOUNDS)
MARGINS = {"accuracy": 0.03, "overconfidence": 0.03, "unsure": 0.05, "class_mix": 0.2}
_UNKNOWN_MARGIN = (
    0.005,
    0.25,
)  # of unknown words: a share, or a part of the test's if that is more
_FEWEST_OF_CLASS = 10  # test papers predicted as a class; rarer classes are compared as one
NAMES = {
    "accuracy": "accuracy",
    "overconfidence": "confidence - accuracy",
    "unsure": "unsure papers",
    "unknown_words": "unknown words",
    "class_mix": "change of class mix (PSI)",
}
COLUMNS = ("predicted", "confidence", "unsure", "unknown_words", "right")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """How a model did on its test papers.

    model: its digest. test: the papers in words. papers: how many. accuracy, confidence: how often
    the likeliest class is right and its mean probability; None if the classes are not made of
    arXiv's categories. unsure: the share of papers that the model calls so. unknown_words: the mean
    share of a paper's words. categories: of each class. within: categories of which every test
    paper lists one; empty if it may be any of the classes.
    """

    model: str
    test: str
    papers: int
    accuracy: float | None
    confidence: float | None
    unsure: float
    unknown_words: float
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    within: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        observed: pd.DataFrame,
        *,
        model: str,
        test: str,
        categories: Mapping[str, Collection[str]],
        within: Iterable[str] = (),
    ) -> Reference:
        """From observations of the test papers; see `observations`."""
        known = observed["right"].notna().all()
        return cls(
            model=model,
            test=test,
            papers=len(observed),
            accuracy=float(observed["right"].mean()) if known else None,
            confidence=float(observed["confidence"].mean()) if known else None,
            unsure=float(observed["unsure"].mean()),
            unknown_words=float(observed["unknown_words"].mean()),
            categories={name: tuple(parts) for name, parts in categories.items()},
            within=tuple(within),
        )

    def to_json(self) -> dict[str, Any]:
        """The fields, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str) -> Reference:
        """What `to_json` gave; UserError if it is anything else."""
        try:
            parts = {name: tuple(map(str, c)) for name, c in content["categories"].items()}
            found = cls(**{**content, "categories": parts, "within": tuple(content["within"])})
            found._check()
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where}: not the record of a model's test: {error}") from None
        return found

    def _check(self) -> None:
        shares = [self.unsure, self.unknown_words]
        if (self.accuracy is None) != (self.confidence is None):
            raise ValueError("accuracy and confidence belong together")
        shares += [value for value in (self.accuracy, self.confidence) if value is not None]
        if not all(0 <= value <= 1 for value in shares):
            raise ValueError("shares must be numbers from 0 to 1")
        if type(self.papers) is not int or self.papers < 1:
            raise ValueError("papers must be a positive integer")

    def classes_of(self, listed: Collection[str], *, several: bool) -> frozenset[str]:
        """The classes of a paper by its categories, the primary one first; see `classes_of`.

        Empty if the test had no such papers.
        """
        if self.within and not {*map(unaliased, listed)}.intersection(self.within):
            return frozenset()
        return classes_of(listed, self.categories, several=several)


def classes_of(
    listed: Collection[str], categories: Mapping[str, Collection[str]], *, several: bool
) -> frozenset[str]:
    """The classes of a paper that lists these categories, the primary one first.

    categories: of each class. several: whether a paper has all classes that it lists; else it has
    that of its primary category, if there is one.
    """
    names = [unaliased(name) for name in listed]
    wanted = set(names if several else names[:1])
    return frozenset(name for name, parts in categories.items() if wanted.intersection(parts))


def classes_of_cells(
    cells: Iterable[str], categories: Mapping[str, Collection[str]], *, several: bool
) -> list[frozenset[str]]:
    """`classes_of` for cells of the column `all_categories`."""
    return [classes_of(split_categories(cell), categories, several=several) for cell in cells]


def observations(
    names: list[str],
    probabilities: Floats,
    unsure: npt.NDArray[np.bool_],
    unknown_words: Floats,
    actual: Iterable[Collection[str]] | None,
) -> pd.DataFrame:
    """One row for each of N papers, with the columns `COLUMNS`.

    names: the C classes. probabilities: (N, C). unknown_words: (N,), shares. actual: the classes of
    each paper; None if they are not known. right: whether the likeliest is one of them; else NaN.
    """
    likeliest = [names[number] for number in probabilities.argmax(1).tolist()]
    right = [math.nan] * len(likeliest)
    if actual is not None:
        right = [float(name in classes) for name, classes in zip(likeliest, actual, strict=True)]
    return pd.DataFrame(
        {
            "predicted": pd.Series(likeliest, dtype=object),
            "confidence": probabilities.max(1) if len(likeliest) else np.zeros(0),
            "unsure": np.asarray(unsure, dtype=bool),
            "unknown_words": unknown_words,
            "right": pd.Series(right, dtype=float),
        }
    )


@dataclass(frozen=True)
class Check:
    """A measure of the papers of a window beside that of the test papers, or of the weeks before.

    low, high: an alarm is raised below or above; infinite if nothing is too low or too high.
    """

    measure: str
    days: int
    papers: int
    value: float
    test: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def alarm(self) -> bool:
        """Whether the value is out of bounds."""
        return not self.low <= self.value <= self.high

    def shown(self, value: float) -> str:
        """A value of this measure as people read it."""
        return f"{value:.2f}" if self.measure == "class_mix" else f"{value:.1%}"

    @property
    def bounds(self) -> str:
        """When there is an alarm, in words."""
        parts = [f"below {self.shown(self.low)}"] if self.low > -math.inf else []
        parts += [f"above {self.shown(self.high)}"] if self.high < math.inf else []
        return " or ".join(parts)

    def line(self) -> str:
        """An alarm in one line."""
        test = "" if self.measure == "class_mix" else f" ({self.shown(self.test)} on its test)"
        return (
            f"{NAMES[self.measure]} {self.shown(self.value)} on {self.papers:,} papers of the last "
            f"{self.days} days{test}; an alarm {self.bounds}"
        )


def check_windows(
    reference: Reference,
    windows: Mapping[int, pd.DataFrame],
    earlier: pd.DataFrame,
    *,
    level: float = LEVEL,
) -> list[Check]:
    """The checks of each window with enough papers, by its days; see `check`.

    earlier: observations of the weeks before the first window.
    """
    enough = {days: papers for days, papers in windows.items() if len(papers) >= FEWEST}
    checks = [each for n in enough for each in check(reference, enough[n], n, level=level)]
    if enough and len(earlier) >= FEWEST and (first := min(windows)) in enough:
        counts = [part["predicted"].value_counts() for part in (earlier, enough[first])]
        before, after = ({str(k): int(n) for k, n in part.items()} for part in counts)
        if (mix := _class_mix(before, after, level)) is not None:
            checks.append(Check("class_mix", first, len(enough[first]), mix[0], 0.0, high=mix[1]))
    return checks


def check(
    reference: Reference, observed: pd.DataFrame, days: int, *, level: float = LEVEL
) -> list[Check]:
    """Compare N new papers, the observations of a window of so many days, with the test papers.

    level: the probability with which each bound is crossed if the difference is its margin.
    """
    from scipy.stats import norm  # takes half a second to load

    z = float(norm.isf(level))
    papers = len(observed)

    def compared(name: str, values: Floats, test: float, margin: float, *, sides: str) -> Check:
        # the variance of the test papers is not kept; under no change it is that of the new ones
        error = float(values.std()) * math.sqrt(1 / papers + 1 / reference.papers)
        reach = margin + z * error
        low = test - reach if "low" in sides else -math.inf
        high = test + reach if "high" in sides else math.inf
        return Check(name, days, papers, float(values.mean()), test, low, high)

    checks = []
    if reference.accuracy is not None and reference.confidence is not None:
        right = observed["right"].to_numpy(np.float64)
        gap, tested = observed["confidence"].to_numpy() - right, reference.accuracy
        margin = MARGINS["accuracy"]
        checks.append(compared("accuracy", right, tested, margin, sides="low"))
        tested, margin = reference.confidence - reference.accuracy, MARGINS["overconfidence"]
        checks.append(compared("overconfidence", gap, tested, margin, sides="low high"))
    unsure = observed["unsure"].to_numpy(np.float64)
    margin = MARGINS["unsure"]
    checks.append(compared("unsure", unsure, reference.unsure, margin, sides="high"))
    unknown, (least, part) = observed["unknown_words"].to_numpy(np.float64), _UNKNOWN_MARGIN
    margin = max(least, part * reference.unknown_words)
    checks.append(compared("unknown_words", unknown, reference.unknown_words, margin, sides="high"))
    return checks


def _class_mix(
    before: Mapping[str, int], after: Mapping[str, int], level: float
) -> tuple[float, float] | None:
    """The population stability index of two samples of classes, and its bound.

    If nothing has changed, PSI / (1/n + 1/m) has a chi-squared distribution with one degree of
    freedom less than classes (Yurdakul and Naranjo 2020); if it has changed by the margin, a
    non-central one. None if there are not two classes to compare.
    """
    from scipy.stats import ncx2

    large = [name for name, count in before.items() if count >= _FEWEST_OF_CLASS]
    sizes = sum(before.values()), sum(after.values())
    rows = np.array([[counts.get(name, 0) for name in large] for counts in (before, after)], float)
    rest = np.array(sizes) - rows.sum(1)
    if rest.any():
        rows = np.column_stack([rows, rest])
    if rows.shape[1] < 2:
        return None
    shares = (rows + 0.5) / (rows + 0.5).sum(1, keepdims=True)
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    scale = 1 / sizes[0] + 1 / sizes[1]
    freedom, noncentrality = rows.shape[1] - 1, MARGINS["class_mix"] / scale
    return psi, float(ncx2.isf(level, freedom, noncentrality)) * scale
