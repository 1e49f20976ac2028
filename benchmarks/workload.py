"""Parameters, papers and training for benchmarks: their only contact with the training code."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from dvc.utils.hydra import apply_overrides
from runner import ROOT, Stopwatch, existing_path
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.splits import papers_needed, split_documents
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.model_config import CONFIG
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.params.yaml_text import read_yaml
from arxiv_hybrid.paths import default_model
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import require
from arxiv_hybrid.system.shipped import is_shipped
from arxiv_hybrid.taxonomy.label_sets import PUBLISHED
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import fit, train_classifier
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.training.trainer import History, print_epoch
from arxiv_hybrid.vectors.matrix import embedding_matrix
from arxiv_hybrid.vectors.train import word_vectors

TITLE_LENGTH, ABSTRACT_LENGTH = 30, 300  # tokens
FOUR_CLASSES = LabelSet(tuple(PUBLISHED[4]))
Splits = dict[str, pd.DataFrame]  # labelled papers: train, val, test


def params_with(settings: Iterable[str]) -> Params:
    """The parameters of a `dvc exp run` with these settings (key=value)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.json"  # which DVC reads and writes faster
        path.write_text(json.dumps(read_yaml(ROOT / "params.yaml")), encoding="utf-8")
        apply_overrides(path, list(settings))
        return load(path.rename(path.with_suffix(".yaml")))  # JSON is YAML


def load_papers(csv: Path | None, *, synthetic_papers: int = 2400) -> pd.DataFrame:
    """The rows of a CSV, or of the synthetic corpus if there is none."""
    if csv:
        return read_csv(csv, option="--data")
    return synthetic.generate(papers=synthetic_papers, label_noise=0.05, seed=1)[0]


def split_papers(papers: pd.DataFrame, params: Params) -> tuple[Splits, LabelSet]:
    """Label papers and split them into train, val and test; the splits and the classes."""
    minimum = params.labels.min_papers
    needed = papers_needed(params.split) if minimum == "auto" else minimum
    labelled = label_papers(papers, params.labels, minimum=needed)
    label_set = labelled.label_set
    return split_documents(labelled.documents, params.split, label_set), label_set


def encoder_folder(value: str | None, option: str = "pretrained") -> Path:
    """The folder of a pre-trained model, the shipped one by default; UserError if it is missing."""
    if value is None:
        if not is_shipped():
            raise UserError(f"no model is shipped; name a folder of pretraining/ (--{option})")
        return default_model()
    folder = existing_path(value, option)
    require(folder / CONFIG)
    return folder


def folder_digest(folder: Path) -> str:
    """A digest of a model's folder: of its configuration, which has the digests of its files."""
    return digests.of_file(folder / CONFIG)


def build_vocabulary(papers: pd.DataFrame) -> Vocabulary:
    """The vocabulary of titles and abstracts, with the default limits."""
    return Vocabulary.build(tokenize_all(texts_of(papers)), max_size=50_000, min_freq=2)


def vocabulary_and_vectors(
    params: Params, papers: pd.DataFrame
) -> tuple[Vocabulary, npt.NDArray[np.float32]]:
    """The vocabulary of training papers and its word vectors, as the stages make them."""
    tokens, limits = tokenize_all(texts_of(papers)), params.vocab
    vocabulary = Vocabulary.build(tokens, max_size=limits.max_size, min_freq=limits.min_freq)
    words, vectors = word_vectors(tokens, params.glove, seed=params.seed)
    matrix, _ = embedding_matrix(vocabulary, words, vectors, dim=params.glove.dim, seed=params.seed)
    return vocabulary, matrix


def encode(
    papers: pd.DataFrame, vocabulary: Vocabulary, device_config: DeviceConfig
) -> EncodedPapers:
    """Papers as token ids on a device, cut to the default lengths."""
    lengths = {"title_length": TITLE_LENGTH, "abstract_length": ABSTRACT_LENGTH}
    return encode_papers(papers, vocabulary, **lengths, device=device_config.device)


def train(
    params: Params,
    splits: Splits,
    vocabulary: Vocabulary,
    embeddings: npt.NDArray[np.float32],
    label_set: LabelSet,
    pretrained: Pretrained | None = None,
) -> tuple[Classifier, History]:
    """Train a classifier as the train stage does; print a line for each epoch."""
    inputs = params, splits["train"], splits["val"], vocabulary, embeddings, label_set
    return train_classifier(*inputs, pretrained=pretrained, on_epoch=print_epoch)


def untrained(
    model: str,
    vocabulary: Vocabulary,
    device_config: DeviceConfig,
    *,
    classes: int = 4,
    **architecture: int,
) -> Classifier:
    """A new classifier, as fast as a trained one; with over four classes, a paper has several."""
    torch.manual_seed(0)
    arguments = {"vocab_size": len(vocabulary), "embed_dim": 300, "num_classes": classes,
                 "dropout": 0.5, **architecture}  # fmt: skip
    config = ModelConfig(model, arguments, list(FOUR_CLASSES.names), TITLE_LENGTH, ABSTRACT_LENGTH)
    if classes > len(FOUR_CLASSES):
        names = [f"class {number}" for number in range(classes)]
        config = replace(
            config,
            classes=names,
            multi_label=True,
            biases=[0.0] * classes,
            thresholds=[0.5] * classes,
        )
    network = registry.build(model, **arguments).to(device_config.device).eval()
    return Classifier(network, vocabulary, config, device_config)


def fit_seconds(
    vocabulary: Vocabulary,
    papers: EncodedPapers,
    val: EncodedPapers,
    params: Params,
    device_config: DeviceConfig,
    *,
    deterministic: bool,
) -> float:
    """Seconds to train a new v1, validation after each epoch included."""
    seed_everything(params.seed)
    torch.use_deterministic_algorithms(deterministic)
    model = untrained("v1", vocabulary, device_config).model
    with Stopwatch() as watch:
        fit(model, papers, val, FOUR_CLASSES, params, device_config)
    return watch.seconds


def training_speed(classifier: Classifier, papers: EncodedPapers) -> float:
    """Papers per second of an epoch over papers with random classes."""
    names, several = tuple(classifier.config.classes), classifier.config.multi_label
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(len(names), (len(papers),), generator=random)
    if several:
        more = torch.randint(len(names), (len(papers),), generator=random)
        labels = (F.one_hot(labels, len(names)) + F.one_hot(more, len(names))).bool()
    papers = replace(papers, labels=labels.to(papers.labels.device))
    params = params_with(["epochs=1", "patience=1", "batch_size=64", "embeddings=random"])
    history = fit(
        classifier.model, papers, papers.take(np.arange(100)), LabelSet(names, several), params,
        classifier.device_config,
    )  # fmt: skip
    return history.epochs[0].documents_per_second
