"""Get word vectors: trained on the corpus here, read from a file, or none."""

from collections.abc import Iterator

from _stage import PAPERS, ROOT, SPLITS, VECTORS, cache, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.data.texts import learnable_texts
from arxiv_hybrid.io import read_parquet, user_file
from arxiv_hybrid.text.published import vector_file
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vectors import save_vectors, word_vectors


def main(params: Params) -> None:
    glove = params.glove
    file = vector_file(glove, ROOT, cache)
    documents = [] if glove.source == "none" else tokenize_all(texts(params))
    words, vectors = word_vectors(documents, glove, seed=params.seed, file=file)
    save_vectors(VECTORS, words, vectors)
    print(
        f"{glove.source}: {len(words):,} vectors of {vectors.shape[1]} for the words of "
        f"{len(documents):,} papers -> {VECTORS}"
    )


def texts(params: Params) -> Iterator[str]:
    held_out = {i for name in ("val", "test") for i in read_parquet(SPLITS / f"{name}.parquet").id}
    extra = params.glove.extra_text
    more = user_file(ROOT, extra) if extra and params.glove.source == "corpus" else None
    return learnable_texts(read_papers(PAPERS), held_out, more)


if __name__ == "__main__":
    run(main)
