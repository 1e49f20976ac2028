"""Training steps as a CUDA graph: the host starts one graph instead of a thousand kernels.

Without it a GPU waits for the host most of the time. A graph computes with fixed shapes, and the
number of tokens differs from batch to batch. So documents of filler follow the papers, with as many
tokens as are missing. Batch statistics leave them out, and the head does not see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arxiv_hybrid.inference.encoding import Batch, EncodedPapers
from arxiv_hybrid.text.vocabulary import UNK
from arxiv_hybrid.training.optimizers import ModelOptimizer
from arxiv_hybrid.training.task import StepResult, Task

WARM_UP = 3  # steps before the capture: libraries choose their kernels
FEWEST_STEPS = 50  # a capture takes as long as some twenty steps
SPARE = 1.05  # tokens of the graph for one of the largest batch; later ones may be larger
Rows = npt.NDArray[np.int64]


class GraphedSteps:
    """Steps on batches of one size, the first ones as usual, then captured and replayed.

    batches: those of one epoch; they determine for how many tokens the graph is. A later batch with
    more does not fit.
    """

    def __init__(
        self, task: Task, papers: EncodedPapers, optimizer: ModelOptimizer, batches: Sequence[Rows]
    ) -> None:
        self._task, self._papers, self._optimizer = task, papers, optimizer
        self._lengths = papers.title_lengths, papers.abstract_lengths
        self._widths = papers.title_ids.shape[1], papers.abstract_ids.shape[1]
        self._size = len(batches[0])
        totals = [[lengths[rows].sum() for lengths in self._lengths] for rows in batches]
        fewest, most = np.min(totals, axis=0), np.max(totals, axis=0)
        self._tokens = [
            min(int(SPARE * tokens), self._size * width)
            for tokens, width in zip(most, self._widths, strict=True)
        ]
        missing = np.array(self._tokens) - fewest
        self._filler = int(max(-(-missing // np.array(self._widths))))  # documents
        # row numbers of the papers, then lengths of filler titles and of filler abstracts
        device = papers.labels.device
        places = self._size + 2 * self._filler
        self._input = torch.zeros(places, dtype=torch.int64, device=device)
        self._steps = 0
        if device.type == "cuda":
            self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        self._result: StepResult

    def fits(self, rows: Rows) -> bool:
        """Whether a batch can be trained on by the graph."""
        return len(rows) == self._size and self._packed(rows) is not None

    def step(self, rows: Rows) -> StepResult:
        """Train on a batch that fits; the result is overwritten by the next step."""
        packed = self._packed(rows)
        if packed is None:
            raise ValueError("the batch does not fit")
        host, on_gpu = torch.from_numpy(packed), self._input.is_cuda
        self._input.copy_(host.pin_memory() if on_gpu else host, non_blocking=on_gpu)
        self._optimizer.begin_update()
        if not on_gpu:
            self._result = self._compute()
        elif self._steps < WARM_UP:
            with self._beside():
                self._result = self._compute()
        else:
            if self._steps == WARM_UP:
                with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                    self._result = self._compute()
            self._graph.replay()
        self._steps += 1
        self._optimizer.end_update()
        return self._result

    def _packed(self, rows: Rows) -> Rows | None:
        """The input of a batch, or None if it has more tokens than the graph."""
        parts = [rows]
        for lengths, width, tokens in zip(self._lengths, self._widths, self._tokens, strict=True):
            missing = tokens - int(lengths[rows].sum())
            if not 0 <= missing <= self._filler * width:
                return None
            full, rest = divmod(missing, width)
            filler = np.zeros(self._filler, np.int64)
            filler[:full] = width
            filler[full : full + 1] = rest
            parts.append(filler)
        return np.concatenate(parts)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Within the block, work runs on another stream, as before a capture it must."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def _compute(self) -> StepResult:
        """The whole step on the device, from the input to updated weights."""
        papers = self._papers
        rows, titles, abstracts = self._input.split([self._size, self._filler, self._filler])
        batch = Batch(
            _with_filler(papers.title_ids, rows, titles),
            _with_filler(papers.abstract_ids, rows, abstracts),
            papers.labels[rows],
            (self._tokens[0], self._tokens[1]),
            filler=self._filler,
        )
        with _without_filler(self._task.model.head, self._size):  # type: ignore[arg-type]
            result = self._task.training_step(batch)
        result.loss.backward()
        self._optimizer.update()
        return StepResult(result.loss.detach(), result.correct)


def _with_filler(ids: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    """The ids (B, T) of some papers, and below them filler of so many unknown words each."""
    steps = torch.arange(ids.shape[1], device=ids.device)
    filler = (steps < lengths.unsqueeze(1)).to(ids.dtype) * UNK
    return torch.cat([ids.index_select(0, rows), filler])


@contextmanager
def _without_filler(head: nn.Module, papers: int) -> Iterator[None]:
    """Within the block, the model's head receives the features of the papers only."""

    def cut(_: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        features: Tensor = inputs[0][:papers]
        return features

    hook = head.register_forward_pre_hook(cut)
    try:
        yield
    finally:
        hook.remove()
