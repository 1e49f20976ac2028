"""Weights of a model as bytes: exact, or compact in a quarter of the space.

Compact: large tables, such as embeddings, are stored as 8-bit integers with one scale per row,
everything else in half precision. Reading restores 32 bits. Nothing here needs torch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as deserialize
from safetensors.numpy import save as serialize

LARGE = 4096  # rows from which a table is stored as integers
SCALE = ".scale"  # after the name of such a table
_STEPS = 127  # the largest integer
_BLOCK = 4096  # rows whose copies are in memory

Arrays = dict[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.float32]


def to_bytes(weights: Arrays, *, compact: bool = False) -> bytes:
    """Weights by name as safetensors; ValueError if a value is too large for the compact form."""
    return serialize(_compacted(weights) if compact else weights)


def from_bytes(content: bytes) -> Arrays:
    """What `to_bytes` wrote, with compact values as float32.

    Raises ValueError if a value is not finite, or scales do not fit their table.
    """
    stored: Arrays = deserialize(content)
    weights: Arrays = {}
    for name, value in stored.items():
        if value.dtype.kind == "f" and not np.isfinite(_extremes(value)).all():
            raise ValueError(f"{name} has values that are not finite")
        if name.endswith(SCALE) and _is_table(stored.get(name.removesuffix(SCALE))):
            continue  # read with its table
        if _is_table(value):
            weights[name] = _dequantized(name, value, stored)
        else:
            weights[name] = value.astype(np.float32) if value.dtype == np.float16 else value
    return weights


def _extremes(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The smallest and the largest value; a NaN is both."""
    return np.array([values.min(), values.max()] if values.size else [], values.dtype)


def _compacted(weights: Arrays) -> Arrays:
    stored: Arrays = {}
    for name, value in weights.items():
        if value.dtype != np.float32:
            stored[name] = value
        elif value.ndim == 2 and len(value) >= LARGE:
            stored[name], stored[name + SCALE] = quantized(value.astype(np.float32))
        else:
            with np.errstate(over="ignore"):
                stored[name] = value.astype(np.float16)
    for name, value in stored.items():
        if value.dtype == np.float16 and not np.isfinite(_extremes(value)).all():
            raise ValueError(f"{name}: values are too large for the compact form")
    return stored


def quantized(table: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """A table (N, D) as integers (N, D) and a scale per row (N,): table = integers * scale.

    No value is wrong by more than half its row's scale, which is the row's largest absolute value
    divided by 127, rounded up to half precision.
    """
    exact = np.abs(table).max(axis=1, initial=0.0) / _STEPS
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks the scale
        scale = exact.astype(np.float16)
        scale = np.where(scale < exact, np.nextafter(scale, np.float16(np.inf)), scale)
        scale[scale == 0] = 1  # a row of zeros
        integers = np.rint(table / scale.astype(np.float32)[:, None]).astype(np.int8)
    return integers, scale


def _is_table(value: npt.NDArray[np.generic] | None) -> bool:
    return value is not None and value.dtype == np.int8 and value.ndim == 2


def _dequantized(name: str, integers: npt.NDArray[np.generic], stored: Arrays) -> Floats:
    scale = stored.get(name + SCALE)
    if scale is None or scale.dtype != np.float16 or scale.shape != (len(integers),):
        raise ValueError(f"{name} needs one scale of half precision for each of its rows")
    factors = scale.astype(np.float32)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(f"{name}: a scale is not positive, or not finite")
    table = np.empty(integers.shape, np.float32)
    for start in range(0, len(table), _BLOCK):  # of which the caches hold all copies
        rows = slice(start, start + _BLOCK)
        np.multiply(integers[rows], factors[rows, None], out=table[rows])
    return table
