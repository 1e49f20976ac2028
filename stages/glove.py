"""Get word vectors: trained on the corpus here, read from a file, or none."""

from _stage import PAPERS, ROOT, SPLITS, VECTORS, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.io import read_parquet
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vectors import save_vectors, word_vectors


def main(params: Params) -> None:
    papers = read_papers(PAPERS).drop_duplicates("id")
    held_out = {i for name in ("val", "test") for i in read_parquet(SPLITS / f"{name}.parquet").id}
    seen = papers[~papers["id"].isin(held_out)]
    documents = [
        title + abstract
        for title, abstract in zip(
            tokenize_all(seen["title"]), tokenize_all(seen["abstract"]), strict=True
        )
    ]
    words, vectors = word_vectors(documents, params.glove, seed=params.seed, root=ROOT)
    save_vectors(VECTORS, words, vectors)
    print(f"{params.glove.source}: {len(words):,} vectors of {vectors.shape[1]} -> {VECTORS}")


if __name__ == "__main__":
    run(main)
