"""Get word vectors: trained on the corpus here, read from a file, or none."""

from _stage import PAPERS, ROOT, SPLITS, VECTORS, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.data.texts import learnable_texts
from arxiv_hybrid.io import read_parquet, user_file
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vectors import save_vectors, word_vectors


def main(params: Params) -> None:
    held_out = {i for name in ("val", "test") for i in read_parquet(SPLITS / f"{name}.parquet").id}
    extra = params.glove.extra_text
    more = user_file(ROOT, extra) if extra and params.glove.source == "corpus" else None
    documents = tokenize_all(learnable_texts(read_papers(PAPERS), held_out, more))
    words, vectors = word_vectors(documents, params.glove, seed=params.seed, root=ROOT)
    save_vectors(VECTORS, words, vectors)
    print(
        f"{params.glove.source}: {len(words):,} vectors of {vectors.shape[1]} for the words of "
        f"{len(documents):,} papers -> {VECTORS}"
    )


if __name__ == "__main__":
    run(main)
