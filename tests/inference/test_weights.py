"""Weights as bytes, exact and compact."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save
from safetensors.torch import load as load_torch

from arxiv_hybrid.inference import weights
from arxiv_hybrid.inference.weights import LARGE, SCALE, from_bytes, quantized, to_bytes

RANDOM = np.random.default_rng(0)


def table(rows: int = LARGE, width: int = 8) -> np.ndarray:
    spread = np.exp(RANDOM.normal(0, 3, (rows, 1)))  # rows of very different sizes
    return (RANDOM.normal(size=(rows, width)) * spread).astype(np.float32)


def test_exact_weights_are_bit_for_bit_the_same() -> None:
    given = {"a": table(4), "steps": np.array(7), "spelling": np.zeros((LARGE, 3), np.uint8)}
    back = from_bytes(to_bytes(given))
    assert back.keys() == given.keys()
    for name, value in given.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


def test_no_value_of_a_compact_table_is_off_by_more_than_half_a_step() -> None:
    given = table()
    given[0] = 0  # padding
    given[1] = 1e-9  # below what half precision can tell from zero
    given[2, 0] = 60_000
    back = from_bytes(to_bytes({"embedding.weight": given}, compact=True))["embedding.weight"]
    step = np.abs(given).max(1) / 127 * (1 + 2**-10) + 6e-8
    assert (np.abs(back - given) <= step[:, None] / 2 * (1 + 1e-6)).all()
    assert (back[0] == 0).all()
    assert back.dtype == np.float32
    relative = np.linalg.norm(back - given, axis=1) / np.linalg.norm(given, axis=1).clip(1e-3)
    assert relative.max() < 0.01


def test_the_compact_form_takes_a_quarter_and_half_of_the_space() -> None:
    given = {"large": table(), "conv": RANDOM.normal(size=(50, 10, 3)).astype(np.float32)}
    exact, compact = (len(to_bytes(given, compact=value)) for value in (False, True))
    assert exact > LARGE * 8 * 4 + 1500 * 4
    assert compact < LARGE * (8 + 2) + 1500 * 2 + 500
    stored = load(to_bytes(given, compact=True))
    assert {name: value.dtype.name for name, value in stored.items()} == {
        "large": "int8", "large" + SCALE: "float16", "conv": "float16"
    }  # fmt: skip
    assert set(load_torch(to_bytes(given, compact=True))) == set(stored), "other programs read it"


def test_integers_and_small_tables_are_no_tables() -> None:
    given = {
        "steps": np.array(7),
        "small": RANDOM.normal(size=(LARGE - 1, 8)).astype("f4"),
        "deep": np.ones((LARGE, 2, 2), "f4"),
    }
    back = from_bytes(to_bytes(given, compact=True))
    assert back["steps"] == 7
    np.testing.assert_allclose(back["small"], given["small"], rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(back["deep"], given["deep"])


def test_quantizing_again_changes_nothing() -> None:
    integers, scale = quantized(RANDOM.normal(size=(50, 8)).astype(np.float32))
    restored = integers.astype(np.float32) * scale.astype(np.float32)[:, None]
    again, _ = quantized(restored)
    assert np.abs(again.astype(int) - integers).max() <= 1
    assert np.abs(integers).max() == 127


@pytest.mark.parametrize("value", [1e5, np.inf, np.nan, -7e4])
def test_values_too_large_for_the_compact_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="b: values are too large for the compact form"):
        to_bytes({"a": np.ones(2, "f4"), "b": np.array([1.0, value], "f4")}, compact=True)
    huge = table()
    huge[3, 3] = value * 127
    with pytest.raises(ValueError, match="too large"):
        to_bytes({"t": huge}, compact=True)


SOUND = {"t": np.ones((5, 2), np.int8), "t.scale": np.ones(5, np.float16)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t.scale": None}, "t needs one scale"),
        ({"t.scale": np.ones(4, np.float16)}, "t needs one scale"),
        ({"t.scale": np.ones((5, 1), np.float16)}, "t needs one scale"),
        ({"t.scale": np.ones(5, np.float32)}, "t needs one scale of half precision"),
        ({"t.scale": np.ones(5, np.int8)}, "t needs one scale"),
        ({"t.scale": np.array([1, 1, 0, 1, 1], np.float16)}, "a scale is not positive"),
        ({"t.scale": np.array([1, 1, -1, 1, 1], np.float16)}, "a scale is not positive"),
        ({"t.scale": np.array([1, 1, np.nan, 1, 1], np.float16)}, "not (positive|finite)"),
        ({"t.scale": np.array([1, 1, np.inf, 1, 1], np.float16)}, "not finite"),
        ({"t": np.ones((6, 2), np.int8)}, "t needs one scale"),
        ({"x": np.array([np.nan], np.float16)}, "x has values that are not finite"),
        ({"x": np.array([-np.inf], np.float32)}, "x has values that are not finite"),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    change: dict[str, np.ndarray | None], message: str
) -> None:
    assert from_bytes(save(SOUND)).keys() == {"t"}
    damaged = {name: value for name, value in {**SOUND, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_bytes(save(damaged))


def test_a_layer_that_is_called_scale_is_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGE", 4)
    given = {"norm": np.ones(3, "f4"), "norm.scale": np.ones(3, "f4"), "t": np.ones((4, 2), "f4")}
    assert from_bytes(to_bytes(given, compact=True)).keys() == given.keys()
