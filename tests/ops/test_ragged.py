"""Ragged batches: positions of tokens, and conversion back to padded batches."""

from __future__ import annotations

import pytest
import torch
from padded_batch import LENGTHS, padded_batch

from arxiv_hybrid.ops import Layout, Ragged, known_token_counts
from arxiv_hybrid.ops.ragged import SEQUENCE_STEP, token_counts

pytestmark = pytest.mark.usefixtures("both_forms")


def test_padding_and_gathering_are_inverse() -> None:
    x, mask = padded_batch(3)
    layout = Layout.of(mask, gap=2)
    torch.testing.assert_close(layout.gather(x), x[mask])
    torch.testing.assert_close(layout.pad(x[mask]), x * mask.unsqueeze(-1))
    torch.testing.assert_close(Ragged(x[mask], layout).padded(), x * mask.unsqueeze(-1))


def test_documents_are_separated_by_gaps() -> None:
    _, mask = padded_batch(1)
    layout = Layout.of(mask, gap=5)
    assert layout.length % SEQUENCE_STEP == 0
    steps = layout.rows.diff()
    new_document = layout.documents.diff() == 1
    assert (steps[new_document] == 6).all()
    assert (steps[~new_document] == 1).all()
    assert layout.rows[0] == 5
    assert layout.length - layout.rows[-1] > 5


def test_steps_count_within_each_document() -> None:
    _, mask = padded_batch(1)
    layout = Layout.of(mask, gap=1)
    assert layout.lengths.tolist() == list(LENGTHS)
    assert layout.steps.tolist() == [step for length in LENGTHS for step in range(length)]


def test_left_aligned_closes_the_padding_between_two_texts() -> None:
    mask = torch.tensor([[True, False, True, True], [True, True, False, False]])
    values = torch.arange(1.0, 6.0).unsqueeze(1)
    sequence, within = Ragged(values, Layout.of(mask, gap=1)).left_aligned()
    assert sequence[:, :3, 0].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert not sequence[:, 3:].any(), "on a GPU it is as wide as the batch was"
    assert within[:, :3].tolist() == [[True, True, True], [True, True, False]]


def test_channels_are_joined() -> None:
    x, mask = padded_batch(3)
    layout = Layout.of(mask, gap=1)
    joined = Ragged.cat([Ragged(x[mask], layout), Ragged(2 * x[mask], layout)])
    torch.testing.assert_close(joined.values, torch.cat([x[mask], 2 * x[mask]], dim=1))


def test_token_counts_are_known_inside_the_block_only() -> None:
    assert token_counts(2) == (None, None)
    with known_token_counts(3, 20):
        assert token_counts(2) == (3, 20)
        assert token_counts(1) == (23,), "both texts joined"
        assert token_counts(3) == (None,) * 3
    assert token_counts(2) == (None, None)
    with pytest.raises(RuntimeError, match="inside"), known_token_counts(1):
        raise RuntimeError("inside")
    assert token_counts(1) == (None,)
