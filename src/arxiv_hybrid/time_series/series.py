"""Synthetic time series with known answers: noise, motifs at unknown times, a wave to continue.

Shapes: N series, T steps, one feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.errors import UserError

Floats = npt.NDArray[np.float32]
MOTIF_STEPS = 9
SIGNALS = ("null", "motif", "dip", "wave")


@dataclass(frozen=True)
class Series:
    """x (N, T, 1) and y (N,): 0 or 1 where a label is asked for, else the next value."""

    x: Floats
    y: Floats

    def part(self, rows: npt.NDArray[np.int64]) -> Series:
        """Some of the series."""
        return Series(self.x[rows], self.y[rows])


def generate(
    signal: str, *, samples: int, steps: int, noise: float, random: np.random.Generator
) -> Series:
    """Series of one kind.

    `null`: white noise and coin-tossed labels, nothing can be learned. `motif`: every other
    series has a bump somewhere, the rest the same values in another order, so that neither
    mean nor spread tells them apart. `dip`: the same with the bump upside down and skewed.
    `wave`: a noisy sine of random phase and pace; y is its next value. noise: the standard
    deviation of what is added. Raises UserError for another signal or too few steps.
    """
    if signal not in SIGNALS:
        raise UserError(f"signal {signal!r} does not exist; choose from {', '.join(SIGNALS)}")
    if steps <= MOTIF_STEPS:
        raise UserError(f"steps: {steps} is not allowed: a motif alone has {MOTIF_STEPS}")
    x = random.normal(0, noise if signal == "wave" else 1.0, (samples, steps))
    if signal == "null":
        y = random.integers(2, size=samples).astype(np.float64)
        return _series(x, y)
    if signal == "wave":
        pace = random.uniform(0.2, 0.6, (samples, 1))
        clean = np.sin(random.uniform(0, 2 * np.pi, (samples, 1)) + pace * np.arange(steps + 1))
        return _series(clean[:, :-1] + x, clean[:, -1])
    shape = np.sin(np.linspace(0, np.pi, MOTIF_STEPS)) * 3
    if signal == "dip":
        shape = -shape * np.linspace(0.6, 1.4, MOTIF_STEPS)
    y = random.permutation(np.arange(samples) % 2).astype(np.float64)
    x *= noise
    for start, row, present in zip(
        random.integers(steps - MOTIF_STEPS, size=samples), x, y, strict=True
    ):
        places = np.arange(start, start + MOTIF_STEPS)
        row[places if present else random.permutation(steps)[:MOTIF_STEPS]] += shape
    return _series(x, y)


def _series(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Series:
    return Series(x[..., None].astype(np.float32), y.astype(np.float32))


def split(series: Series, share: float, random: np.random.Generator) -> tuple[Series, Series]:
    """A random share of the series, and the rest."""
    order = random.permutation(len(series.y))
    cut = round(share * len(order))
    return series.part(order[:cut]), series.part(order[cut:])
