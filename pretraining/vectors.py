"""Train the word vectors that the encoder starts from, by word2vec on the papers."""

from _shared import PAPERS, VECTORS, prepare, run

prepare()

from arxiv_hybrid.data.paper_arrays import WORDS, load_arrays
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.vectors.matrix import save_matrix
from arxiv_hybrid.vectors.of_papers import vectors_of


def main(params: PretrainingParams) -> None:
    """Write one vector for each word of the papers."""
    keep_freed_memory()
    matrix = vectors_of(load_arrays(PAPERS), params)
    save_matrix(VECTORS, matrix, words=PAPERS / WORDS)
    print(f"vectors of {len(matrix):,} words -> {VECTORS}")


if __name__ == "__main__":
    run(main)
