"""Learn which title belongs to which abstract: the encoder that v5 starts from."""

from dataclasses import asdict

import pandas as pd
import torch
from _shared import METRICS, MODEL, VECTORS, Params, papers, run

from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.system.files import write_csv, write_json
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary
from arxiv_hybrid.training.pretraining import Settings, pretrain, save_pretrained, say
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.vectors.matrix import embedding_matrix
from arxiv_hybrid.vectors.storage import load_vectors


def main(params: Params) -> None:
    """Train, and save the encoder, its words and its curves."""
    keep_freed_memory()
    device_config = choose_device(params.device, params.precision)
    seed_everything(params.seed)
    words, vectors = load_vectors(VECTORS)
    vocabulary = Vocabulary((*SPECIAL, *words))
    matrix, _ = embedding_matrix(vocabulary, words, vectors, dim=params.dim, seed=params.seed)
    learned = papers(params)
    texts = encode_papers(
        learned,
        vocabulary,
        title_length=params.title_length,
        abstract_length=params.abstract_length,
        device=device_config.device,
    )
    sizes = {"num_filters": params.num_filters, "lstm_hidden": params.lstm_hidden}
    model = PairedCNNLSTM(len(vocabulary), params.dim, **sizes).to(device_config.device)
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
    history = pretrain(model, texts, settings, device_config, on_epoch=say)
    save_pretrained(MODEL, model, vocabulary, sizes, learned["id"])
    curves = pd.DataFrame([asdict(epoch) for epoch in history])
    write_csv(METRICS / "curves.csv", curves.drop(columns="documents_per_second"))
    last = history[-1]
    write_json(
        METRICS / "encoder.json",
        {
            "papers": len(texts),
            "words": len(vocabulary),
            "loss": last.loss,
            "matched": last.in_batch_accuracy,
            "device": device_config.device.type,
            "precision": device_config.precision,
        },
    )
    print(f"{last.matched:.1%} of titles found their abstract among {params.batch_size} -> {MODEL}")


if __name__ == "__main__":
    run(main)
