"""What every model guarantees for every batch."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models import CharacterHybrid, HybridCNNLSTM, PaperClassifier, PooledCNN, registry
from arxiv_hybrid.models.layers import AttentionPooling, GatedFusion, MultiHeadSelfAttention
from arxiv_hybrid.ops import known_token_counts
from arxiv_hybrid.system.errors import UserError

WORDS = 60


def make(name: str, **changes: object) -> PaperClassifier:
    torch.manual_seed(0)
    arguments = {
        "vocab_size": WORDS,
        "embed_dim": 12,
        "num_filters": 8,
        "lstm_hidden": 4,
        "dropout": 0.3,
    }
    if name == "v6":  # has no LSTM
        del arguments["lstm_hidden"]
        arguments |= {"hidden": 16}
    model = registry.build(name, **{**arguments, **changes})
    model.set_vocabulary([f"word{'x' * (i % 9)}{i}" for i in range(WORDS)])
    with torch.no_grad():  # biases start at 0, which would hide their effect on padding
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.03 * torch.randn_like(parameter))
    return model


def rounding(model: PaperClassifier) -> float:
    """How much another order of summation may change logits near 1; v4 has three layers."""
    return 4e-6 if isinstance(model, CharacterHybrid) else 1e-6


@pytest.fixture
def texts() -> tuple[Tensor, Tensor]:
    """Six papers: titles of 1 to 7 words, abstracts of 1 to 30."""
    torch.manual_seed(1)
    titles, abstracts = torch.randint(1, WORDS, (6, 7)), torch.randint(1, WORDS, (6, 30))
    for row in range(6):
        titles[row, row + 2 :] = 0
        abstracts[row, 1 + 6 * row :] = 0
    return titles, abstracts


@pytest.fixture(params=sorted(registry.MODELS))
def model(request: pytest.FixtureRequest) -> PaperClassifier:
    return make(request.param)


def test_v1_has_exactly_the_published_number_of_parameters() -> None:
    model = HybridCNNLSTM(37_760)
    assert sum(p.numel() for p in model.parameters()) == 13_930_887


def test_v4_has_the_published_size() -> None:
    model = CharacterHybrid(37_760)
    assert 22.5e6 < sum(p.numel() for p in model.parameters()) < 23.5e6


def test_the_public_interface() -> None:
    model = HybridCNNLSTM(
        WORDS, embed_dim=300, num_filters=128, kernel_sizes=[3, 4, 5], lstm_hidden=128,
        num_classes=3, dropout=0.6,
    )  # fmt: skip
    title_ids, abstract_ids = torch.randint(1, WORDS, (2, 9)), torch.randint(1, WORDS, (2, 40))
    logits, attention_maps = model(title_ids, abstract_ids, title_ids != 0)
    assert logits.shape == (2, 3)
    assert attention_maps["title_attention"].shape == (2, 9)
    assert attention_maps["abstract_attention"].shape == (2, 40)
    assert attention_maps["fusion_weights"].shape == (2, 2)


def test_the_baselines_widths() -> None:
    model = registry.build("baseline", vocab_size=WORDS)
    assert model.abstract_attention.score.in_features == 768
    assert model.title_attention.score.in_features == 512
    assert model.head[0].num_features == 1280
    assert [m.p for m in model.head if isinstance(m, nn.Dropout)] == [0.5, 0.5, 0.4]
    assert model.embedding.dropout == 0.25


def test_extra_padding_changes_no_logit(model: PaperClassifier, texts: tuple[Tensor, Tensor]):
    model.eval()
    titles, abstracts = texts
    logits, maps = model(titles, abstracts)
    padded, padded_maps = model(F.pad(titles, (0, 5)), F.pad(abstracts, (0, 50)))
    torch.testing.assert_close(padded, logits, rtol=0, atol=rounding(model))
    torch.testing.assert_close(
        padded_maps["abstract_attention"][:, :30], maps["abstract_attention"], rtol=0, atol=1e-6
    )


def test_extra_padding_changes_nothing_in_training_either(texts: tuple[Tensor, Tensor]) -> None:
    """Batch statistics and gradients come from real tokens only."""
    titles, abstracts = texts
    losses, gradients = [], []
    for extra in (0, 25):
        model = make("v1", dropout=0.0).train()
        model.title_attention.dropout.p = 0.0
        logits, _ = model(F.pad(titles, (0, extra)), F.pad(abstracts, (0, extra)))
        loss = F.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1, 2]))
        loss.backward()
        losses.append(loss.detach())
        gradients.append(model.embedding.weight.grad)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)


def test_order_of_the_batch_does_not_matter(model: PaperClassifier, texts: tuple[Tensor, Tensor]):
    model.eval()
    titles, abstracts = texts
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    logits, _ = model(titles, abstracts)
    shuffled, _ = model(titles[order], abstracts[order])
    torch.testing.assert_close(shuffled, logits[order], rtol=0, atol=rounding(model))


def test_other_papers_of_the_batch_do_not_matter(
    model: PaperClassifier, texts: tuple[Tensor, Tensor]
) -> None:
    model.eval()
    titles, abstracts = texts
    together, _ = model(titles, abstracts)
    alone = torch.cat([model(titles[i : i + 1], abstracts[i : i + 1])[0] for i in range(6)])
    torch.testing.assert_close(alone, together, rtol=0, atol=rounding(model))


def test_attention_sums_to_one(model: PaperClassifier, texts: tuple[Tensor, Tensor]) -> None:
    _, maps = model.eval()(*texts)
    for name, ids in zip(("title_attention", "abstract_attention"), texts, strict=True):
        torch.testing.assert_close(maps[name].sum(1), torch.ones(6))
        assert (maps[name][ids == 0] == 0).all()
        heads = maps[name.replace("attention", "heads")]
        torch.testing.assert_close(heads.sum(2), torch.ones(6, heads.shape[1]))
        torch.testing.assert_close(heads.mean(1), maps[name])


def test_each_head_is_shown() -> None:
    texts = torch.randint(1, WORDS, (2, 9)), torch.randint(1, WORDS, (2, 40))
    for name, heads in {"v1": 4, "v4": 8, "v6": 3, "baseline": 1}.items():
        _, maps = registry.build(name, vocab_size=WORDS)(*texts)
        assert maps["title_heads"].shape == (2, heads, 9)
        assert maps["abstract_heads"].shape == (2, heads, 40)


def test_on_a_gpu_sizes_come_from_the_host(
    model: PaperClassifier, texts: tuple[Tensor, Tensor], pretend_gpu: Callable[[], None]
) -> None:
    model.eval()  # no dropout, whose masks have another shape there
    counts = [int((ids != 0).sum()) for ids in texts]
    results = []
    for known in ([], counts):
        model.zero_grad()
        with known_token_counts(*known):
            logits, maps = model(*texts)
        logits.pow(2).sum().backward()
        results.append([logits, *maps.values(), *(p.grad for p in model.parameters())])
        pretend_gpu()
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_gives_no_nan(model: PaperClassifier) -> None:
    empty = torch.zeros(2, 4, dtype=torch.long)
    logits, _ = model.eval()(empty, empty)
    assert torch.isfinite(logits).all()


def test_padding_never_learns(model: PaperClassifier, texts: tuple[Tensor, Tensor]) -> None:
    logits, _ = model.train()(*texts)
    logits.sum().backward()
    assert (model.embedding.weight.grad[0] == 0).all()
    assert (model.embedding.weight[0] == 0).all()


def test_every_parameter_learns(model: PaperClassifier, texts: tuple[Tensor, Tensor]) -> None:
    logits, _ = model.train()(*texts)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before batch norm, of a key, or added to all scores of a softmax cannot matter
    idle = ("conv1.bias", "conv2.bias", "key.bias", "attention.score.bias")
    if isinstance(model, PooledCNN):  # its projections learn from the matching objective
        idle += tuple(n for n in still if n.split(".")[0] in model.matching_only)
        titles, abstracts = model.text_vectors(*texts)
        (titles @ abstracts.T).diag().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert not [n for n in still if not n.endswith(idle) and not re.fullmatch(r"convs\.\d.bias", n)]


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_a_model_overfits_one_batch(name: str, texts: tuple[Tensor, Tensor]) -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    plain = make(name, dropout=0.0).train()
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.02 if name == "cnn_lstm" else 0.01)
    for _ in range(80):
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(*texts)[0], labels)
        loss.backward()
        optimizer.step()
    assert (plain(*texts)[0].argmax(1) == labels).all()
    assert loss.item() < 0.05


SWITCHES = {"attention": 2, "residual": 3, "gates": 1}  # layers that each removes


@pytest.mark.parametrize("part", sorted(SWITCHES))
def test_a_part_can_be_left_out(part: str, texts: tuple[Tensor, Tensor]) -> None:
    whole, without = make("v1").eval(), make("v1", **{part: False}).eval()
    kinds = {
        "attention": (MultiHeadSelfAttention, AttentionPooling),
        "residual": (nn.Conv1d,),
        "gates": (GatedFusion,),
    }[part]
    counts = [sum(isinstance(m, kinds) for m in one.modules()) for one in (whole, without)]
    assert counts[0] - counts[1] == SWITCHES[part]
    logits, maps = without(*texts)
    padded, _ = without(*(F.pad(ids, (0, 9)) for ids in texts))
    torch.testing.assert_close(padded, logits, rtol=0, atol=rounding(without))
    torch.testing.assert_close(
        maps["title_heads"].sum(2), torch.ones(6, 1 if part == "attention" else 4)
    )


def test_v4_is_dilated_and_its_characters_start_as_configured() -> None:
    model = registry.build("v4", vocab_size=WORDS)
    dilations = [block.conv1.dilation[0] for block in model.abstract_blocks]
    assert dilations == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert model.embedding.characters.table.std().item() == pytest.approx(0.1, rel=0.1)
    loud = registry.build("v4", vocab_size=WORDS, char_init_std=1.0)
    assert loud.embedding.characters.table.std().item() == pytest.approx(1.0, rel=0.1)


def test_v4_reads_the_characters_of_a_word() -> None:
    model = make("v4").eval()
    ids = torch.arange(2, WORDS)
    before = model.embedding.vectors(ids)
    model.set_vocabulary(["other"] * WORDS)
    assert (model.embedding.vectors(ids) != before).any(1).all()


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(UserError, match="'v9' does not exist; choose from baseline, v1"):
        registry.build("v9")


@pytest.mark.parametrize(("name", "part"), [("cnn_lstm", "gates"), ("v1", "char_init_std")])
def test_an_argument_that_a_model_lacks_is_named(name: str, part: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no {part}; it takes .*lstm_hidden"):
        registry.build(name, vocab_size=9, **{part: 1})
    assert registry.build("v4", vocab_size=9, char_init_std=1.0, gates=False)


def test_groups_of_tokens_of_v5_are_the_published_ones_unless_given(
    texts: tuple[Tensor, Tensor],
) -> None:
    usual, same, fewer = make("v5"), make("v5", title_group=1, abstract_group=4), make("v5")
    fewer.title_group, fewer.abstract_group = 2, 8  # type: ignore[assignment]
    wide = make("v5", title_group=2, abstract_group=8)
    logits = [model.eval()(*texts)[0] for model in (usual, same, fewer, wide)]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[2], logits[3])
    assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize("groups", [(2, 8), (3, 64)])
def test_attention_of_v5_over_groups_sums_to_1_over_real_tokens(
    texts: tuple[Tensor, Tensor], groups: tuple[int, int]
) -> None:
    model = make("v5", title_group=groups[0], abstract_group=groups[1]).eval()
    maps = model(*texts)[1]
    for name, ids in zip(("title_attention", "abstract_attention"), texts, strict=True):
        assert maps[name].shape == ids.shape
        torch.testing.assert_close(maps[name].sum(1), torch.ones(len(ids)))
        assert not maps[name][ids == 0].any()


def v6(**changes: object) -> PooledCNN:
    model = make("v6", **changes)
    assert isinstance(model, PooledCNN)
    return model


def test_v6_has_the_widths_that_its_pretraining_was_measured_with() -> None:
    model = PooledCNN(WORDS)
    assert [conv.kernel_size[0] for conv in model.convs] == [1, 3, 5]
    assert model.head.in_features == 512


def test_features_of_v6_are_the_input_of_its_head(texts: tuple[Tensor, Tensor]) -> None:
    model = v6().eval()
    features = model.features(*texts)
    assert features.shape == (6, 16)
    torch.testing.assert_close(model.head(features), model(*texts)[0])


def test_only_wide_kernels_of_v6_see_the_order_of_words(
    texts: tuple[Tensor, Tensor],
) -> None:
    titles, abstracts = texts
    turned = abstracts.clone()
    turned[5, :2] = abstracts[5, [1, 0]]
    bags = v6(kernel_sizes=(1,)).eval()
    torch.testing.assert_close(bags(titles, turned)[0], bags(titles, abstracts)[0])
    wide = v6(kernel_sizes=(1, 3)).eval()
    differs = (wide(titles, turned)[0] - wide(titles, abstracts)[0]).abs().amax(1)
    assert differs[5] > 1e-3
    assert (differs[:5] < 1e-5).all()


def test_text_vectors_of_v6_are_unit_vectors_of_one_text_each(
    texts: tuple[Tensor, Tensor],
) -> None:
    model = v6().eval()
    titles, abstracts = model.text_vectors(*texts)
    assert titles.shape == abstracts.shape == (6, 256)
    torch.testing.assert_close(titles.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(abstracts.norm(dim=1), torch.ones(6))
    others = model.text_vectors(texts[0], texts[1].flip(0))
    torch.testing.assert_close(others[0], titles)
    assert not torch.allclose(others[1], abstracts)
