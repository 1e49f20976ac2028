"""The fast v1 against the plain reference: same weights, same logits, same gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models import HybridCNNLSTM, ReferenceV1

ARGUMENTS = {"vocab_size": 50, "embed_dim": 12, "num_filters": 8, "lstm_hidden": 4}
# modules of the reference, and their names in the fast v1
SAME = {
    "title_norm": "title_attention.norm",
    "attention.out_proj": "title_attention.out",
    "score": "abstract_attention.score",
    "project": "abstract_attention.project",
    "abstract_norm": "abstract_attention.norm",
    "title_gate": "fusion.title_gate",
    "abstract_gate": "fusion.abstract_gate",
    "fusion_norm": "fusion.norm",
    "embedding": "embedding",
    "head": "head",
    "blocks": "abstract_blocks",
}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # the fast v1 takes softmax in single precision


def by_reference_name(fast: dict[str, Tensor], reference: ReferenceV1) -> dict[str, Tensor]:
    """Weights, or gradients, of the fast v1 under the names of the reference."""
    renamed = {}
    for name in reference.state_dict():
        if name.startswith("lstm."):
            kind, layer = name.removeprefix("lstm.").removesuffix("_reverse").rsplit("_l", 1)
            direction = "back" if name.endswith("_reverse") else "ahead"
            renamed[name] = fast[f"title_lstm.{direction}.{layer}.{kind}_l0"]
        elif name.startswith("attention.in_proj"):
            part = name.removeprefix("attention.in_proj_")
            parts = [fast[f"title_attention.{q}.{part}"] for q in ("query", "key", "value")]
            renamed[name] = torch.cat(parts)
        else:
            prefix = next(p for p in SAME if name.startswith(f"{p}."))
            renamed[name] = fast[name.replace(prefix, SAME[prefix], 1)]
    return renamed


@pytest.fixture
def models() -> tuple[HybridCNNLSTM, ReferenceV1]:
    """Both in double precision with the same weights; biases moved away from 0."""
    torch.manual_seed(0)
    fast = HybridCNNLSTM(**ARGUMENTS, dropout=0.0).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in fast.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    reference = ReferenceV1(**ARGUMENTS, dropout=0.0).double()  # type: ignore[arg-type]
    reference.load_state_dict(by_reference_name(fast.state_dict(), reference))
    fast.title_attention.dropout.p = reference.attention.dropout = 0.0
    return fast, reference


@pytest.fixture
def texts() -> tuple[Tensor, Tensor]:
    """Eight papers: titles of 1 to 8 tokens, abstracts of 1 to 29."""
    torch.manual_seed(1)
    titles, abstracts = torch.randint(1, 50, (8, 8)), torch.randint(1, 50, (8, 29))
    for row in range(8):
        titles[row, row + 1 :] = 0
        abstracts[row, 1 + 4 * row :] = 0
    return titles, abstracts


def test_both_have_the_published_number_of_parameters() -> None:
    for model in (HybridCNNLSTM(37_760), ReferenceV1(37_760)):
        assert sum(p.numel() for p in model.parameters()) == 13_930_887


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # a hint about speed
@pytest.mark.parametrize("training", [True, False])
def test_logits_and_gradients_agree(
    models: tuple[HybridCNNLSTM, ReferenceV1], texts: tuple[Tensor, Tensor], training: bool
) -> None:
    fast, reference = (model.train(training) for model in models)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    actual, expected = fast(*texts)[0], reference(*texts)
    torch.testing.assert_close(actual, expected, **CLOSE)
    for logits in (actual, expected):
        F.cross_entropy(logits, labels).backward()
    values = {n: p.grad for n, p in fast.named_parameters() if p.grad is not None}
    renamed = by_reference_name(values | dict(fast.named_buffers()), reference)
    for name, parameter in reference.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(renamed[name], parameter.grad, msg=name, **CLOSE)
    for name, buffer in reference.named_buffers():  # the statistics of batch norm
        torch.testing.assert_close(renamed[name], buffer, msg=name, **CLOSE)


def test_the_reference_ignores_padding(
    models: tuple[HybridCNNLSTM, ReferenceV1], texts: tuple[Tensor, Tensor]
) -> None:
    reference = models[1].eval()
    wider = [F.pad(ids, (0, 5)) for ids in texts]
    torch.testing.assert_close(reference(*wider), reference(*texts))


def test_the_reference_is_plain_pytorch() -> None:
    kinds = {type(module) for module in ReferenceV1(9).modules()}
    ours = {kind.__name__ for kind in kinds if kind.__module__.startswith("arxiv_hybrid")}
    assert ours == {"ReferenceV1", "Block"}
    assert {nn.Conv1d, nn.LSTM, nn.MultiheadAttention, nn.BatchNorm1d} <= kinds
