"""Learn which title belongs to which abstract: the encoder that v5 starts from."""

from dataclasses import asdict

from _shared import METRICS, MODEL, UNFINISHED, VECTORS, prepare, run, unlabelled_papers

prepare()

import pandas as pd
import torch

from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.models import PairedCNNLSTM
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.system.files import write_csv, write_json
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary
from arxiv_hybrid.training.pretraining import Settings, pretrain, print_epoch, save_pretrained
from arxiv_hybrid.training.progress import discard
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.vectors.matrix import embedding_matrix
from arxiv_hybrid.vectors.storage import load_vectors


def main(params: PretrainingParams) -> None:
    """Train, and save the encoder, its words and its curves."""
    keep_freed_memory()
    device_config = choose_device(params.device, params.precision)
    seed_everything(params.seed)
    words, vectors = load_vectors(VECTORS)
    vocabulary = Vocabulary((*SPECIAL, *words))
    matrix, _ = embedding_matrix(vocabulary, words, vectors, dim=params.dim, seed=params.seed)
    papers = unlabelled_papers(params)
    encoded = encode_papers(
        papers,
        vocabulary,
        title_length=params.title_length,
        abstract_length=params.abstract_length,
        device=device_config.device,
    )
    widths = {"num_filters": params.num_filters, "lstm_hidden": params.lstm_hidden}
    model = PairedCNNLSTM(len(vocabulary), params.dim, **widths).to(device_config.device)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(matrix))
    settings = Settings(
        epochs=params.epochs,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        word_dropout=params.word_dropout,
        temperature=params.temperature,
        seed=params.seed,
    )
    history = pretrain(
        model, encoded, settings, device_config, on_epoch=print_epoch, resume=UNFINISHED
    )
    save_pretrained(MODEL, model, vocabulary, widths, papers["id"])
    curves = pd.DataFrame([asdict(epoch) for epoch in history])
    write_csv(METRICS / "curves.csv", curves.drop(columns="documents_per_second"))
    last = history[-1]
    write_json(
        METRICS / "encoder.json",
        {
            "papers": len(encoded),
            "words": len(vocabulary),
            "loss": last.loss,
            "in_batch_accuracy": last.in_batch_accuracy,
            "device": device_config.device.type,
            "precision": device_config.precision,
        },
    )
    discard(UNFINISHED)
    print(
        f"{last.in_batch_accuracy:.1%} of titles matched with their abstract among "
        f"{params.batch_size} -> {MODEL}"
    )


if __name__ == "__main__":
    run(main)
