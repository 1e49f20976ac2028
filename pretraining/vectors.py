"""Learn word vectors from unlabelled papers."""

from _shared import VECTORS, prepare, run, unlabelled_papers

prepare()

from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.vectors.storage import save_vectors
from arxiv_hybrid.vectors.train import word2vec


def main(params: PretrainingParams) -> None:
    """Train word2vec on titles and abstracts, and keep the most frequent words."""
    documents = tokenize_all(texts_of(unlabelled_papers(params)))
    words, vectors = word2vec(
        documents,
        dim=params.dim,
        window=params.window,
        min_freq=params.min_freq,
        epochs=params.vector_epochs,
        seed=params.seed,
    )
    words, vectors = words[: params.vocabulary], vectors[: params.vocabulary]
    save_vectors(VECTORS, words, vectors)
    print(f"{len(words):,} vectors of {params.dim} from {len(documents):,} papers -> {VECTORS}")


if __name__ == "__main__":
    run(main)
