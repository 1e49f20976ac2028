"""A trained classifier as a folder: safetensors, a JSON configuration, the vocabulary.

Nothing is pickled, so loading a model never runs code from it. The configuration holds the SHA-256
of every file, its own included: a damaged or exchanged file is refused, not used. It also says what
the model learned from. A pre-trained model has the ids of these papers beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from arxiv_hybrid.inference import calibration, familiarity, paper_ids, weights
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.model_config import (
    CATEGORIES,
    CATEGORY,
    CONFIG,
    FAMILIARITY,
    ORIGIN,
    PAPERS,
    UNSURE,
    WEIGHTS,
    WORDS,
    ModelConfig,
)
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.inference.thresholds import assigned
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import (
    lines_of,
    read_bound,
    require,
    write_bytes,
    write_json,
    write_lines,
)
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import Vocabulary

__all__ = [
    "CATEGORIES",
    "CATEGORY",
    "UNSURE",
    "WEIGHTS",
    "Classifier",
    "ModelConfig",
    "digest",
    "load",
    "save",
]
TEXTS = ("title", "abstract")


@dataclass(frozen=True)
class Classifier:
    """A model with its vocabulary: from titles and abstracts to class probabilities.

    familiarity: what finds papers unlike the training papers; None if it was not fitted. origin:
    what the model learned from; None if an older version saved it.
    """

    model: PaperClassifier
    vocabulary: Vocabulary
    config: ModelConfig
    device_config: DeviceConfig
    familiarity: Familiarity | None = None
    origin: Origin | None = None

    def __str__(self) -> str:
        """One line: the model, its classes, and where it comes from."""
        origin = self.origin.line() if self.origin else "saved without a record of its papers"
        return f"{self.config.model} with {len(self.config.classes)} classes, {origin}"

    def known_words(self, paper: pd.DataFrame) -> tuple[int, int]:
        """How many words of the papers' titles and abstracts the vocabulary has, and all of them.

        A word counts as often as it occurs.
        """
        tokens = [word for name in TEXTS for text in paper[name] for word in tokenize(text)]
        return sum(word in self.vocabulary.index for word in tokens), len(tokens)

    def encode(self, papers: pd.DataFrame) -> EncodedPapers:
        """Encode the columns title and abstract (and label, if there is one).

        Raises UserError unless all texts are strings; see `encode_papers`.
        """
        return encode_papers(
            papers,
            self.vocabulary,
            title_length=self.config.title_length,
            abstract_length=self.config.abstract_length,
            device=self.device_config.device,
        )

    def probabilities(self, papers: pd.DataFrame) -> Tensor:
        """Calibrated class probabilities (N, C) in float64 on the CPU.

        Rows are in the order of the papers. They sum to 1, unless a paper may have several classes:
        then each class has a probability by itself. Raises UserError as `classify` does.
        """
        return self._probabilities(self._encode_texts(papers))

    def _encode_texts(self, papers: pd.DataFrame) -> EncodedPapers:
        """Encode title and abstract only: a column label may hold anything."""
        if isinstance(papers, pd.DataFrame):  # anything else is refused below
            papers = papers.loc[:, [name in TEXTS for name in papers.columns]]
        return self.encode(papers)

    def _probabilities(self, papers: EncodedPapers) -> Tensor:
        if not len(papers):
            return torch.zeros(0, len(self.config.classes), dtype=torch.float64)
        return self.calibrated(predict(self.model, papers, self.device_config))

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits of the model (N, C) as probabilities; see `probabilities`.

        Raises UserError if a logit is not finite.
        """
        if not logits.isfinite().all():
            raise UserError(
                "the model computes values that are not finite: its weights are damaged, or its "
                "training diverged; train it again"
            )
        if self.config.multi_label:
            return calibration.sigmoid_probabilities(
                logits, self.config.temperature, self.config.biases
            )
        return calibration.probabilities(logits, self.config.temperature)

    def assigned(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """The classes (N, C) that papers are assigned; without `multi_label` the likeliest one."""
        thresholds = self.config.thresholds or [math.inf] * len(self.config.classes)
        return assigned(probabilities, np.array(thresholds))

    def unfamiliar(self, papers: EncodedPapers) -> npt.NDArray[np.bool_]:
        """Whether each paper (N,) is unlike the training papers; see `familiarity`."""
        if self.familiarity is None or not len(papers):
            return np.zeros(len(papers), dtype=bool)
        return self.familiarity.unfamiliar(papers)

    def classify(self, papers: pd.DataFrame) -> pd.DataFrame:
        """The likeliest class of each paper, and the probability of each class.

        The rows have the index of `papers`. Columns: `category`, the likeliest class; `categories`,
        only if a paper may have several: those assigned, the likeliest first, joined by `;`;
        `unsure`: whether the paper is unlike the training papers, so that its probabilities mean
        little; then one column per class.
        Raises UserError if a title or abstract is missing or not a string; it may be empty.
        """
        names = self.config.classes
        encoded = self._encode_texts(papers)
        probabilities = self._probabilities(encoded).numpy()
        table = pd.DataFrame(probabilities, columns=names, index=papers.index)
        table.insert(0, UNSURE, self.unfamiliar(encoded).tolist())
        if self.config.multi_label:
            table.insert(0, CATEGORIES, self._joined(probabilities))
        table.insert(0, CATEGORY, [names[number] for number in probabilities.argmax(1).tolist()])
        return table

    def save(self, folder: Path, origin: Origin | None = None) -> None:
        """Write the classifier into `folder`, with another origin if one is given; see `save`."""
        save(
            folder,
            self.model,
            self.vocabulary,
            self.config,
            self.familiarity,
            origin=origin or self.origin,
        )

    @property
    def columns(self) -> list[str]:
        """The columns of `classify`."""
        several = [CATEGORIES] if self.config.multi_label else []
        return [CATEGORY, *several, UNSURE, *self.config.classes]

    def _joined(self, probabilities: npt.NDArray[np.float64]) -> list[str]:
        """The assigned classes of each paper, the likeliest first, joined by `;`."""
        if not len(probabilities):
            return []
        rows, numbers = np.nonzero(self.assigned(probabilities))
        order = np.lexsort((-probabilities[rows, numbers], rows))
        names = np.array(self.config.classes, dtype=object)[numbers[order]]
        ends = np.searchsorted(rows, np.arange(1, len(probabilities)))
        return [";".join(part) for part in np.split(names, ends)]


def save(
    folder: Path,
    model: PaperClassifier,
    vocabulary: Vocabulary,
    config: ModelConfig,
    fitted: Familiarity | None = None,
    *,
    compact: bool = False,
    origin: Origin | None = None,
    papers: Collection[str] | None = None,
) -> None:
    """Write a classifier into `folder`; each file is replaced atomically, the digests last.

    compact: store the weights in a quarter of the space, see `weights`. papers: ids of the papers
    that it learned from, for models that others start from. Raises ValueError if a weight is too
    large for the compact form, or an id is not one line.
    """
    arrays = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in model.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, weights.to_bytes(arrays, compact=compact))
    write_lines(folder / WORDS, list(vocabulary.words))
    names = [WEIGHTS, WORDS]
    optional = {
        FAMILIARITY: None if fitted is None else familiarity.to_bytes(fitted),
        PAPERS: None if papers is None else paper_ids.pack_ids(papers),
    }
    for name, content in optional.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)  # of another model
        else:
            write_bytes(folder / name, content)
            names.append(name)
    described = asdict(config) if origin is None else {**asdict(config), ORIGIN: origin.to_json()}
    write_json(folder / CONFIG, described, bind=[folder / name for name in names])


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Read a classifier that `save` wrote.

    Raises UserError if a file is missing, damaged or from another model, or a value out of range.
    Models saved before there were digests are loaded with the other checks, and a line on stderr.
    """
    folder = Path(folder)
    device_config = choose_device(device, precision)
    for name in (WEIGHTS, CONFIG, WORDS):
        require(folder / name)
    try:
        content, files = read_bound(folder / CONFIG, (WEIGHTS, WORDS), (FAMILIARITY, PAPERS))
        origin = Origin.from_json(content.pop(ORIGIN)) if ORIGIN in content else None
        config = ModelConfig(**content)
        config.check()
        vocabulary = Vocabulary(tuple(lines_of(files[WORDS])))
        model = _build(config, len(vocabulary), _tensors(files[WEIGHTS]))
        fitted = None
        if FAMILIARITY in files:
            sizes = {"words": len(vocabulary), "classes": len(config.classes)}
            fitted = familiarity.parse(files[FAMILIARITY], **sizes)
        if PAPERS in files:
            paper_ids.count_ids(files[PAPERS])  # checks them
    except _DAMAGE as error:
        raise UserError(f"{folder}: not a sound model: {str(error)[:300]}") from None
    if not config.classes:
        raise UserError(
            f"{folder}: was pre-trained without categories, so it cannot classify; train a "
            "classifier that starts from it (pretrained)"
        )
    model = model.to(device_config.device).eval()
    return Classifier(model, vocabulary, config, device_config, fitted, origin)


_DAMAGE = (  # what libraries raise for content that no program wrote
    SafetensorError, UserError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RuntimeError, OSError,
)  # fmt: skip


def _tensors(file: bytes) -> dict[str, Tensor]:
    """The weights in a file, each in memory of its own, aligned as torch aligns it."""
    return {
        name: torch.from_numpy(value).clone() for name, value in weights.from_bytes(file).items()
    }


def _build(config: ModelConfig, words: int, tensors: dict[str, Tensor]) -> PaperClassifier:
    """The model with its weights; ValueError unless they fit."""
    vectors = config.arguments.get("vocab_size")
    if words != vectors:
        raise ValueError(f"{words} words for {vectors} vectors")
    # sizes are compared before they cost memory, and no random weights are drawn; a model of your
    # own may not allow that
    with suppress(RuntimeError):
        with torch.device("meta"), _NoRandomValues():
            model = registry.build(config.model, **config.arguments)
        _check_shapes(model, tensors)
        model.load_state_dict(tensors, assign=True)
        if not _lacks_values(model):
            return model
    model = registry.build(config.model, **config.arguments)
    _check_shapes(model, tensors)
    model.load_state_dict(tensors)
    return model


class _NoRandomValues(TorchFunctionMode):
    """Leaves tensors as they are that a model fills with random values.

    On the meta device these would import torch's compiler, which takes a second.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _RANDOM or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


_RANDOM = (Tensor.normal_, Tensor.uniform_)


def _lacks_values(model: PaperClassifier) -> bool:
    """Whether a model built without memory still has tensors without values."""
    others = (value for module in model.modules() for value in vars(module).values())
    tensors = (value for value in others if isinstance(value, Tensor))
    return any(value.is_meta for value in (*model.parameters(), *model.buffers(), *tensors))


def _check_shapes(model: PaperClassifier, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless a model has these weights, by name, shape and type."""
    expected = model.state_dict()
    if different := expected.keys() ^ tensors.keys():
        raise ValueError(f"the weights {min(different)} are missing or of another model")
    for name, value in tensors.items():
        if (value.shape, value.dtype) != (expected[name].shape, expected[name].dtype):
            raise ValueError(f"{name} has the shape {tuple(value.shape)} of {value.dtype}")


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256, which identify a model in MLflow."""
    require(folder / WEIGHTS)
    return digests.of_file(folder / WEIGHTS)[:16]
