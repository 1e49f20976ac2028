"""Synthetic time series with known answers: noise, motifs, and waves to forecast.

Shapes: N series, T steps, one feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.errors import UserError

FloatArray = npt.NDArray[np.float32]
MOTIF_STEPS = 9
SIGNALS = ("null", "motif", "dip", "wave")


@dataclass(frozen=True)
class Series:
    """Inputs x (N, T, 1) and targets y (N,): a label 0 or 1, or the next value."""

    x: FloatArray
    y: FloatArray

    def select(self, rows: npt.NDArray[np.int64]) -> Series:
        """The series in the given rows."""
        return Series(self.x[rows], self.y[rows])


def generate(
    signal: str, *, samples: int, steps: int, noise: float, random: np.random.Generator
) -> Series:
    """Generate series of one kind.

    `null`: white noise and random labels; nothing can be learned. `motif`: half of the series
    contain a bump at a random time, the others the same values in random positions, so mean
    and variance do not separate the classes. `dip`: the same with the bump upside down and
    skewed. `wave`: a noisy sine of random phase and frequency; y is its next value. noise:
    standard deviation of the added noise. Raises UserError for another signal or too few
    steps.
    """
    if signal not in SIGNALS:
        raise UserError(f"signal {signal!r} does not exist; choose from {', '.join(SIGNALS)}")
    if steps <= MOTIF_STEPS:
        raise UserError(
            f"steps: {steps} is not allowed: must be above {MOTIF_STEPS}, the motif's length"
        )
    x = random.normal(0, noise if signal == "wave" else 1.0, (samples, steps))
    if signal == "null":
        y = random.integers(2, size=samples).astype(np.float64)
        return _series(x, y)
    if signal == "wave":
        frequency = random.uniform(0.2, 0.6, (samples, 1))
        phase = random.uniform(0, 2 * np.pi, (samples, 1))
        clean = np.sin(phase + frequency * np.arange(steps + 1))
        return _series(clean[:, :-1] + x, clean[:, -1])
    motif = np.sin(np.linspace(0, np.pi, MOTIF_STEPS)) * 3
    if signal == "dip":
        motif = -motif * np.linspace(0.6, 1.4, MOTIF_STEPS)
    y = random.permutation(np.arange(samples) % 2).astype(np.float64)
    x *= noise
    for start, row, present in zip(
        random.integers(steps - MOTIF_STEPS, size=samples), x, y, strict=True
    ):
        positions = np.arange(start, start + MOTIF_STEPS)
        row[positions if present else random.permutation(steps)[:MOTIF_STEPS]] += motif
    return _series(x, y)


def _series(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Series:
    return Series(x[..., None].astype(np.float32), y.astype(np.float32))


def split(series: Series, share: float, random: np.random.Generator) -> tuple[Series, Series]:
    """Split off a random share of the series; return it and the rest."""
    order = random.permutation(len(series.y))
    cut = round(share * len(order))
    return series.select(order[:cut]), series.select(order[cut:])
