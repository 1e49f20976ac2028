"""Get word vectors: trained on the corpus here, read from a file, or none."""

from _stage import PAPERS, ROOT, SPLITS, VECTORS, cache, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.vectors.corpus import extra_texts, learnable_texts
from arxiv_hybrid.system.files import read_parquet, user_file
from arxiv_hybrid.vectors.published import vector_file
from arxiv_hybrid.vectors.pretrained import load_pretrained
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.vectors.storage import save_vectors, select_words
from arxiv_hybrid.vectors.train import word_vectors


def main(params: Params) -> None:
    source, more, file, start = params.pretrained or params.glove.source, [], None, None
    if params.pretrained:
        start = load_pretrained(user_file(ROOT, params.pretrained))
    else:
        file = vector_file(params.glove, ROOT, cache)
    papers = read_papers(PAPERS)
    held_out = {i for name in ("val", "test") for i in read_parquet(SPLITS / f"{name}.parquet").id}
    documents = tokenize_all(learnable_texts(papers, held_out))
    if start is not None:
        start.check_held_out(held_out)
        words, vectors = start.word_vectors()
    else:
        if source == "corpus" and params.glove.extra_text:
            extra = user_file(ROOT, params.glove.extra_text)
            more = tokenize_all(extra_texts(papers, held_out, extra))
        words, vectors = word_vectors(
            [*documents, *more], params.glove, seed=params.seed, file=file
        )
    if more or start is not None:  # later stages ask for the papers' words only
        words, vectors = select_words(words, vectors, {word for text in documents for word in text})
    save_vectors(VECTORS, words, vectors)
    print(
        f"{source}: {len(words):,} vectors of {vectors.shape[1]} for the words of "
        f"{len(documents):,} papers, {len(more):,} more papers read -> {VECTORS}"
    )


if __name__ == "__main__":
    run(main)
