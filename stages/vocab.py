"""Collect the words of the training papers, and a vector for each."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.table import PaperFile, Texts
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import (
    EMBEDDINGS,
    METRICS,
    SPLIT_NAMES,
    SPLITS,
    VECTORS,
    VOCABULARY,
    repository_root,
)
from arxiv_hybrid.system.files import user_file, write_json, write_lines
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.vectors.matrix import coverage, embedding_matrix, save_matrix
from arxiv_hybrid.vectors.storage import load_vectors


def main(params: Params) -> None:
    tokens = {
        name: TokenIds.of(Texts(PaperFile(SPLITS / f"{name}.parquet"))) for name in SPLIT_NAMES
    }
    if params.pretrained:
        encoder = load_pretrained(user_file(repository_root(), params.pretrained))
        vocabulary, (words, vectors) = encoder.vocabulary, encoder.word_vectors()
        dim = vectors.shape[1]
    else:
        vocabulary = Vocabulary.build(
            tokens["train"], max_size=params.vocab.max_size, min_freq=params.vocab.min_freq
        )
        words, vectors = load_vectors(VECTORS)
        dim = params.glove.dim
    matrix, known = embedding_matrix(vocabulary, words, vectors, dim=dim, seed=params.seed)
    write_lines(VOCABULARY, list(vocabulary.words))
    save_matrix(EMBEDDINGS, matrix, words=VOCABULARY)
    report = coverage(vocabulary, tokens, known)
    write_json(METRICS / "vocab.json", report)
    print(
        f"{len(vocabulary):,} words, {report['words_with_vector']:.1%} with a vector, "
        f"{report['out_of_vocabulary']['test']:.2%} of test words unknown"
    )


if __name__ == "__main__":
    run(main)
