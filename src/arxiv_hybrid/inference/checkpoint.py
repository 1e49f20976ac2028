"""A trained classifier as a folder: safetensors, a JSON configuration, the vocabulary.

Nothing is pickled, so loading a model never runs code from it. The configuration holds the SHA-256
of every file, its own included: a damaged or exchanged file is refused, not used. It also says what
the model learned from. A pre-trained model has the ids of these papers beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.inference import calibration, familiarity, linear, paper_ids, weights
from arxiv_hybrid.inference.classifier import NOT_FINITE, TextClassifier
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers, occlude_each_word
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.linear import LinearClassifier
from arxiv_hybrid.inference.model_config import (
    CATEGORIES,
    CATEGORY,
    CONFIG,
    FAMILIARITY,
    LINEAR,
    PAPERS,
    UNSURE,
    WEIGHTS,
    WORDS,
    ModelConfig,
)
from arxiv_hybrid.inference.model_folder import digest, read_model, write_model
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import lines_of, require
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import Vocabulary

__all__ = [
    "CATEGORIES",
    "CATEGORY",
    "UNSURE",
    "WEIGHTS",
    "Classifier",
    "LinearClassifier",
    "ModelConfig",
    "TextClassifier",
    "digest",
    "load",
    "load_network",
    "save",
]


@dataclass(frozen=True, repr=False)
class Classifier(TextClassifier):
    """A network with its vocabulary; see `TextClassifier`."""

    model: PaperClassifier
    vocabulary: Vocabulary
    config: ModelConfig
    device_config: DeviceConfig
    familiarity: Familiarity | None = None
    origin: Origin | None = None

    @property
    def kind(self) -> str:
        """The name of the network."""
        return self.config.model

    def encode(self, papers: PaperTable) -> EncodedPapers:
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

    def encoded_probabilities(self, papers: EncodedPapers) -> Tensor:
        """See `TextClassifier`; calibrated."""
        if not len(papers):
            return torch.zeros(0, len(self.config.classes), dtype=torch.float64)
        return self.calibrated(predict(self.model, papers, self.device_config))

    def without_each_word(self, paper: EncodedPapers) -> tuple[list[str], Tensor]:
        """See `TextClassifier`; all occurrences of a word are replaced by `<UNK>`."""
        variants, word_ids = occlude_each_word(paper)
        words = [self.vocabulary.words[number] for number in word_ids]
        return words, self.encoded_probabilities(variants)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits of the model (N, C) as probabilities; see `probabilities`.

        Raises UserError if a logit is not finite.
        """
        if not logits.isfinite().all():
            raise UserError(NOT_FINITE)
        if self.config.multi_label:
            return calibration.sigmoid_probabilities(
                logits, self.config.temperature, self.config.biases
            )
        return calibration.probabilities(logits, self.config.temperature)

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

    def _tokens(self, text: str) -> list[str]:
        return tokenize(text)


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
    words = "".join(f"{word}\n" for word in vocabulary.words)
    files = {
        WEIGHTS: weights.to_bytes(arrays, compact=compact),
        WORDS: words.encode(),
        FAMILIARITY: None if fitted is None else familiarity.to_bytes(fitted),
        PAPERS: None if papers is None else paper_ids.pack_ids(papers),
    }
    write_model(folder, asdict(config), files, origin)


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> TextClassifier:
    """Read a classifier that `save` wrote, or a linear one.

    Raises UserError if a file is missing, damaged or from another model, or a value out of range.
    Models saved before there were digests are loaded with the other checks, and a line on stderr.
    """
    folder = Path(folder)
    device_config = choose_device(device, precision)
    for name in (WEIGHTS, CONFIG, WORDS):
        require(folder / name)
    try:
        content, files, origin = read_model(folder)
        if content.get("model") == LINEAR:
            return linear.parse(content, files, origin)
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


def load_network(
    folder: str | Path, *, device: str = "auto", precision: str = "auto"
) -> Classifier:
    """`load`, for what only a network can do; UserError if the folder holds another model."""
    classifier = load(folder, device=device, precision=precision)
    if not isinstance(classifier, Classifier):
        raise UserError(f"{folder}: expected a network, found a {classifier.kind}")
    return classifier


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
