"""The BiLSTM agrees with PyTorch's packed one."""

from __future__ import annotations

import torch
from padded_batch import LENGTHS, padded_batch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from arxiv_hybrid.ops import BiLSTM


def packed_twin(ours: BiLSTM) -> nn.LSTM:
    """PyTorch's bidirectional LSTM with the weights of a one-layer `BiLSTM`."""
    theirs = nn.LSTM(6, 3, batch_first=True, bidirectional=True).double()
    for name, parameter in ours.ahead[0].named_parameters():
        getattr(theirs, name).data.copy_(parameter.data)
    for name, parameter in ours.back[0].named_parameters():
        getattr(theirs, f"{name}_reverse").data.copy_(parameter.data)
    return theirs


def packed_states(lstm: nn.LSTM, x: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]


def test_it_equals_a_packed_lstm_in_values_and_gradients() -> None:
    x, mask = padded_batch(6)
    x.requires_grad_()
    ours = BiLSTM(6, 3, dropout=0.0, layers=1).double()
    theirs = packed_twin(ours)
    actual, expected = ours(x, mask), packed_states(theirs, x)
    torch.testing.assert_close(actual, expected)
    pairs = [(p, getattr(theirs, n)) for n, p in ours.ahead[0].named_parameters()]
    pairs += [(p, getattr(theirs, f"{n}_reverse")) for n, p in ours.back[0].named_parameters()]
    for a, b in zip(
        torch.autograd.grad(actual.pow(2).sum(), [x, *(p for p, _ in pairs)]),
        torch.autograd.grad(expected.pow(2).sum(), [x, *(p for _, p in pairs)]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_dropout_applies_between_layers_only() -> None:
    x, mask = padded_batch(6)
    x = x.float()
    single, double = (BiLSTM(6, 3, dropout=0.5, layers=layers).train() for layers in (1, 2))
    assert torch.equal(single(x, mask), single(x, mask))
    assert not torch.equal(double(x, mask), double(x, mask))
    assert torch.equal(double.eval()(x, mask), double(x, mask))
