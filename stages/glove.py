"""Train word vectors on all papers outside validation and test, or read them from a file."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import LABELS, PAPERS, SPLITS, VECTORS, download_cache, repository_root
from arxiv_hybrid.system.files import read_parquet, user_file
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.vectors.corpus import extra_texts, learnable_texts
from arxiv_hybrid.vectors.published import vector_file
from arxiv_hybrid.vectors.storage import save_vectors, select_words
from arxiv_hybrid.vectors.train import word_vectors


def main(params: Params) -> None:
    root, papers = repository_root(), read_papers(PAPERS)
    held_out = {i for name in ("val", "test") for i in read_parquet(SPLITS / f"{name}.parquet").id}
    documents = tokenize_all(learnable_texts(papers, held_out))
    extra_documents = []
    if params.pretrained:
        encoder = load_pretrained(user_file(root, params.pretrained))
        encoder.check_held_out(held_out)
        words, vectors = encoder.word_vectors()
    else:
        file = vector_file(params.glove, root, download_cache)
        if params.glove.source == "corpus" and params.glove.extra_text:
            extra = user_file(root, params.glove.extra_text)
            sets = LabelSet.read(LABELS).categories.values()
            categories = tuple(name for members in sets for name in members) or None
            texts = extra_texts(papers, held_out, extra, categories=categories)
            extra_documents = tokenize_all(texts)
        words, vectors = word_vectors(
            [*documents, *extra_documents], params.glove, seed=params.seed, file=file
        )
    if extra_documents or params.pretrained:  # later stages look up the papers' words only
        words, vectors = select_words(words, vectors, {word for text in documents for word in text})
    save_vectors(VECTORS, words, vectors)
    print(
        f"{params.pretrained or params.glove.source}: {len(words):,} vectors of "
        f"{vectors.shape[1]} for the words of {len(documents):,} papers, "
        f"{len(extra_documents):,} more papers read -> {VECTORS}"
    )


if __name__ == "__main__":
    run(main)
