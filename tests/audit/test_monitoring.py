"""Alarms: none without a change, at the level that they promise, and soon after one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.audit import monitoring
from arxiv_hybrid.audit.monitoring import (
    DAYS,
    FALSE_ALARM,
    LEVEL,
    WINDOWS,
    Reference,
    check,
    check_windows,
    classes_of,
    observations,
)
from arxiv_hybrid.system.errors import UserError

NAMES = ["a", "b", "c", "d"]
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
MEASURES = ("accuracy", "overconfidence", "unsure", "unknown_words")


def drawn(
    papers: int,
    random: np.random.Generator,
    *,
    accuracy: float = 0.8,
    confidence: float = 0.8,
    unsure: float = 0.06,
    unknown: float = 0.03,
    shares: np.ndarray = SHARES,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "predicted": random.choice(NAMES, papers, p=shares),
            "confidence": random.beta(8 * confidence, 8 * (1 - confidence), papers),
            "unsure": random.random(papers) < unsure,
            "unknown_words": random.beta(60 * unknown, 60 * (1 - unknown), papers),
            "right": (random.random(papers) < accuracy).astype(float),
        }
    )


def reference(observed: pd.DataFrame) -> Reference:
    return Reference.of(observed, model="0" * 16, test="test papers", categories={"a": ["cs.CL"]})


def crossed(checks: list[monitoring.Check]) -> set[str]:
    return {f"{each.measure}_{each.days}" for each in checks if each.alarm}


def month(
    seed: int, per_day: int = 60, shift_on: int = 99, **shift: float | np.ndarray
) -> dict[int, set[str]]:
    """The alarms of each of thirty days, after thirty others without checks."""
    random = np.random.default_rng(seed)
    known = reference(drawn(400, random))
    days: list[pd.DataFrame] = []
    alarms = {}
    for day in range(-DAYS, DAYS):
        changes = shift if day >= shift_on else {}
        days.append(drawn(per_day, random, **changes))  # type: ignore[arg-type]
        if day >= 0:
            windows = {n: pd.concat(days[-n:]) for n in WINDOWS}
            earlier = pd.concat(days[-min(WINDOWS) - max(WINDOWS) : -min(WINDOWS)])
            alarms[day] = crossed(check_windows(known, windows, earlier))
    return alarms


def test_thirty_days_without_a_change_raise_no_alarm() -> None:
    raised = [alarms for seed in range(10) for alarms in month(seed).values() if alarms]
    assert raised == []


@pytest.mark.parametrize(
    ("measure", "shift", "delay"),
    [
        ("accuracy", {"accuracy": 0.4}, 4),
        ("overconfidence", {"confidence": 0.99}, 7),
        ("overconfidence", {"confidence": 0.5}, 5),
        ("unsure", {"unsure": 0.5}, 3),
        ("unknown_words", {"unknown": 0.09}, 3),
        ("class_mix", {"shares": np.array([0.02, 0.08, 0.3, 0.6])}, 5),
    ],
)
def test_a_shift_is_found_within_days(
    measure: str, shift: dict[str, float | np.ndarray], delay: int
) -> None:
    for seed in range(2):
        alarms = month(seed, shift_on=5, **shift)
        assert not any(alarms[day] for day in range(5))
        found = next(day for day in range(5, DAYS) if f"{measure}_7" in alarms[day])
        assert found - 5 < delay


def test_a_small_change_of_many_papers_is_no_alarm() -> None:
    random = np.random.default_rng(0)
    known = reference(drawn(50_000, random))
    slightly = drawn(50_000, random, accuracy=0.785, unsure=0.09, unknown=0.036)
    assert crossed(check(known, slightly, 28)) == set()
    more = drawn(50_000, random, accuracy=0.75, unsure=0.13, unknown=0.042)
    assert crossed(check(known, more, 28)) == {"accuracy_28", "overconfidence_28", "unsure_28",
                                               "unknown_words_28"}  # fmt: skip


def test_without_margins_the_bounds_have_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 pairs of samples without a change, at 5 % for each of the bounds."""
    monkeypatch.setattr(monitoring, "MARGINS", dict.fromkeys(monitoring.MARGINS, 0.0))
    monkeypatch.setattr(monitoring, "_UNKNOWN_MARGIN", (0.0, 0.0))
    random = np.random.default_rng(1)
    count = dict.fromkeys([*MEASURES, "class_mix"], 0)
    for _ in range(400):
        before, after = drawn(400, random), drawn(500, random)
        checks = check_windows(reference(before), {7: after}, before, level=0.05)
        for each in checks:
            count[each.measure] += each.alarm
    expected = {"accuracy": 20, "overconfidence": 40, "unsure": 20, "unknown_words": 20,
                "class_mix": 20}  # fmt: skip
    for measure, number in expected.items():  # 5 standard deviations
        assert abs(count[measure] - number) < 5 * np.sqrt(number), measure


def test_all_bounds_of_a_month_share_the_probability() -> None:
    random = np.random.default_rng(0)
    papers = drawn(500, random)
    checks = check_windows(reference(papers), dict.fromkeys(WINDOWS, papers), papers)
    bounds = sum(np.isfinite([each.low, each.high]).sum() for each in checks)
    assert bounds * DAYS * LEVEL == pytest.approx(FALSE_ALARM)


def test_few_papers_are_not_checked() -> None:
    random = np.random.default_rng(0)
    known = reference(drawn(400, random))
    few, many = drawn(199, random, accuracy=0.0), drawn(200, random)
    assert check_windows(known, {7: few, 28: few}, many) == []
    assert {each.days for each in check_windows(known, {7: few, 28: many}, many)} == {28}
    assert "class_mix" not in {e.measure for e in check_windows(known, {7: many}, few)}


def test_labels_of_the_users_own_have_no_accuracy() -> None:
    random = np.random.default_rng(0)
    papers = drawn(400, random).assign(right=np.nan)
    known = reference(papers)
    assert (known.accuracy, known.confidence) == (None, None)
    assert {each.measure for each in check(known, papers, 7)} == {"unsure", "unknown_words"}


def test_observations_and_classes() -> None:
    p = np.array([[0.7, 0.3], [0.4, 0.6]])
    table = observations(["x", "y"], p, np.array([True, False]), np.array([0.1, 0.0]),
                         [{"x"}, {"x"}])  # fmt: skip
    assert table["predicted"].tolist() == ["x", "y"]
    assert table["right"].tolist() == [1.0, 0.0]
    assert table["confidence"].tolist() == [0.7, 0.6]
    categories = {"ai": ["cs.AI", "cs.LG"], "numbers": ["math.NA"]}
    listed = ["cs.NA", "cs.LG"]  # an alias first
    assert classes_of(listed, categories, several=False) == {"numbers"}
    assert classes_of(listed, categories, several=True) == {"ai", "numbers"}
    assert classes_of(["hep-th"], categories, several=True) == frozenset()


def test_a_reference_survives_a_file_and_says_which_papers_it_covers() -> None:
    known = Reference("d" * 16, "9 test papers", 9, 0.5, 0.6, 0.1, 0.2,
                      {"a": ("cs.CL",), "b": ("cs.CV",)}, ("cs.CV",))  # fmt: skip
    assert Reference.from_json(known.to_json(), "x") == known
    assert known.classes_of(["cs.CL"], several=True) == frozenset()
    assert known.classes_of(["cs.CL", "cs.CV"], several=True) == {"a", "b"}
    for wrong in ({"papers": 0}, {"accuracy": 2.0}, {"accuracy": None}, {"unsure": "x"}, {"y": 1}):
        with pytest.raises(UserError, match=r"x\.json: not the record of a model's test"):
            Reference.from_json({**known.to_json(), **wrong}, "x.json")
