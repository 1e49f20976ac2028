"""The interface of every paper classifier, and how weights are initialized.

Shapes in this package: B papers, Tt tokens of a title, Ta of an abstract, D embedding, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from arxiv_hybrid.ops import TokenEmbedding

AttentionMaps = dict[str, Tensor]
TextName = Literal["title", "abstract"]


class PaperClassifier(nn.Module):
    """Base class of the models: an `embedding`, anything in between, and a `head`.

    The last step of `forward` must be `self.head(features)`: mixup acts on its input. A paper's
    result must depend neither on padding nor on the other papers of the batch.
    """

    embedding: TokenEmbedding
    head: nn.Module
    # batches hold papers of similar length in this text: the one whose padding costs more time
    bucket_by: TextName = "abstract"
    # layers that `forward` does not use, only the matching of titles with abstracts
    matching_only: tuple[str, ...] = ()

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """Token ids to logits (B, C) and the maps of `attention_maps`.

        title_ids (B, Tt) and abstract_ids (B, Ta) are padded with 0 on the right; title_mask
        (B, Tt) is True at real tokens; callers of the bare network may pass it, and it defaults to
        `title_ids != 0`.
        """
        raise NotImplementedError

    def set_vocabulary(self, words: Sequence[str]) -> None:
        """Pass the words, in the order of their ids, to embeddings that read characters."""
        self.embedding.set_vocabulary(words)


def attention_maps(title: Tensor, abstract: Tensor, fusion: Tensor) -> AttentionMaps:
    """The attention weights that a model returns, detached.

    title (B, H, Tt) and abstract (B, H', Ta): each head's weights, summing to 1 per paper; fusion
    (B, 2): the weights of title and abstract. Returns these as `title_heads`, `abstract_heads` and
    `fusion_weights`, and averaged over heads as `title_attention` and `abstract_attention`.
    """
    title, abstract = title.detach(), abstract.detach()
    return {
        "title_attention": title.mean(1),
        "abstract_attention": abstract.mean(1),
        "title_heads": title,
        "abstract_heads": abstract,
        "fusion_weights": fusion.detach(),
    }


def init_weights(model: nn.Module, *, lstm: bool = True) -> None:
    """Linear: Xavier-uniform. Conv1d: Kaiming-normal (fan-out). Biases: 0.

    lstm: also LSTM input weights Xavier-uniform, recurrent weights orthogonal. The embedding keeps
    PyTorch's normal values until word vectors replace them.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif lstm and isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(weight)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight)
                else:
                    nn.init.zeros_(weight)
        if isinstance(module, (nn.Linear, nn.Conv1d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
