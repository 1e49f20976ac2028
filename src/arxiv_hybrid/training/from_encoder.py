"""Training v6 from a pre-trained encoder: its weights, and a head that already fits the papers.

A random head would send large gradients into the encoder and spoil it. So the head is first fitted
to the features of the training papers, with the encoder fixed, and then everything is trained
(Kumar et al. 2022: linear probing, then fine-tuning). Classes that are categories of arXiv need
fewer papers: the encoder has learned most of them, and its own head is where the fit may start.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, inference_batch, sorted_batches
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.ops import known_token_counts
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress
from arxiv_hybrid.training.batches import random_rows
from arxiv_hybrid.training.losses import Loss

HEAD = ("head.weight", "head.bias")  # the weights that depend on the classes
PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # of squared weights; validation chooses
MAX_PAPERS = 20_000  # more change the start little, and fine-tuning reads all
MAX_STEPS = 60


def load_encoder(model: nn.Module, pretrained: Pretrained, label_set: LabelSet) -> None:
    """Copy the weights of a pre-trained v6; of its head, what it knows of the classes.

    Raises UserError if `model` is no v6 or has other widths.
    """
    if not isinstance(model, PooledCNN):
        raise UserError("params.yaml: only model v6 can start from a pre-trained encoder")
    weights = {
        name: torch.from_numpy(value)
        for name, value in pretrained.weights.items()
        if name not in HEAD
    }
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"pretrained: its weights do not fit v6: {reason}") from None
    if unexpected or set(missing) != set(HEAD):
        names = ", ".join(sorted({*unexpected, *missing} - set(HEAD))) or "a second head"
        raise UserError(f"pretrained: its weights do not fit v6: {names}")
    with torch.no_grad():
        for value, known in zip(
            model.head.parameters(), _known(pretrained, label_set), strict=True
        ):
            value.copy_(known)


def _known(pretrained: Pretrained, label_set: LabelSet) -> tuple[Tensor, Tensor]:
    """Weights (C, F) and biases (C,) for a run's classes, from the encoder's head.

    A class of several categories gets the mean of their rows, a class that the encoder has not
    learned zeros.
    """
    weight, bias = (torch.from_numpy(pretrained.weights[name]) for name in HEAD)
    rows = {name: row for row, name in enumerate(pretrained.classes)}
    mixture = torch.zeros(len(label_set), len(weight))
    for place, name in enumerate(label_set.names):
        learned = [rows[part] for part in label_set.categories.get(name, ()) if part in rows]
        mixture[place, learned] = 1 / max(1, len(learned))
    return mixture @ weight, mixture @ bias


def fit_head(
    model: PooledCNN,
    train: EncodedPapers,
    val: EncodedPapers,
    loss: Loss,
    device_config: DeviceConfig,
    *,
    seed: int,
) -> None:
    """Fit the head to the features of training papers: a logistic regression with the run's loss.

    loss: logits and labels, as `train` has them, to a scalar; without label smoothing, which would
    punish what the encoder is sure of. The penalty draws the weights towards zero, or towards those
    that the head has. Which of the two, and how strongly, is chosen by the loss on `val`. Of many
    training papers a random part, drawn with `seed`, is used.
    """
    papers = train.take(random_rows(len(train), MAX_PAPERS, seed))
    features, held_out = (features_of(model, part, device_config) for part in (papers, val))
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-4)
    features, held_out = (features - mean) / scale, (held_out - mean) / scale
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    own = weight * scale, bias + weight @ mean
    nothing = torch.zeros_like(own[0]), torch.zeros_like(own[1])
    starts = (nothing, own) if own[0].any() else (nothing,)
    fits = [(start, penalty) for start in starts for penalty in PENALTIES]
    fitted, best, chosen = nothing, float("inf"), nothing
    for start, penalty in Progress(fits, "first weights of the head", unit="fits"):
        if penalty == PENALTIES[0]:  # from strong to weak: the others start from the one before
            fitted = start
        fitted = regression(features, papers.labels, loss, penalty, start[0], fitted)
        val_loss = float(loss(held_out @ fitted[0].T + fitted[1], val.labels))
        if val_loss < best:
            best, chosen = val_loss, fitted
    weight = chosen[0] / scale
    with torch.no_grad():
        model.head.weight.copy_(weight)
        model.head.bias.copy_(chosen[1] - weight @ mean)


@torch.no_grad()
def features_of(model: PooledCNN, papers: EncodedPapers, device_config: DeviceConfig) -> Tensor:
    """The head's input (N, F) for each paper, in float32, with dropout off."""
    model.eval()
    features = torch.empty(len(papers), model.head.in_features, device=papers.labels.device)
    for rows in sorted_batches(papers.lengths(model.bucket_by), inference_batch(features.device)):
        batch = papers.batch(rows)
        with device_config.autocast(), known_token_counts(*batch.token_counts):
            part = model.features(batch.title_ids, batch.abstract_ids)
        features[torch.from_numpy(rows).to(features.device)] = part.float()
    return features


def regression(
    features: Tensor,
    labels: Tensor,
    loss: Loss,
    penalty: float,
    centre: Tensor,
    start: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Minimize loss + penalty / 2 * |weight - centre|^2 by L-BFGS, from a start (C, F), (C,).

    features (N, F): standardized. loss: logits (N, C) and labels to a scalar mean.
    """
    weight, bias = (value.detach().clone().requires_grad_() for value in start)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=MAX_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-6
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        distance = (weight - centre).square().sum()
        value = loss(features @ weight.T + bias, labels) + penalty / 2 * distance
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach(), bias.detach()
