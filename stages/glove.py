"""Train word vectors on all papers outside validation and test, or read them from a file."""

from itertools import chain

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import LABELS, PAPERS, SPLITS, VECTORS, download_cache, repository_root
from arxiv_hybrid.system.files import user_file
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.vectors.corpus import extra_texts, learnable_texts
from arxiv_hybrid.vectors.published import vector_file
from arxiv_hybrid.vectors.storage import save_vectors, select_words
from arxiv_hybrid.vectors.train import word_vectors


def main(params: Params) -> None:
    root, papers = repository_root(), PaperFile(PAPERS)
    held_out = {i for name in ("val", "test") for i in PaperFile(SPLITS / f"{name}.parquet")["id"]}
    texts, more = learnable_texts(papers, held_out), iter(list[str]())
    if params.glove.extra_text and params.glove.source == "corpus" and not params.pretrained:
        extra = user_file(root, params.glove.extra_text)
        sets = LabelSet.read(LABELS).categories.values()
        categories = tuple(name for members in sets for name in members) or None
        more = extra_texts(papers, held_out, extra, categories=categories)
    documents = TokenIds.of(chain(texts, more))
    if params.pretrained:
        encoder = load_pretrained(user_file(root, params.pretrained))
        encoder.check_held_out(held_out)
        words, vectors = encoder.word_vectors()
    else:
        file = vector_file(params.glove, root, download_cache)
        words, vectors = word_vectors(documents, params.glove, seed=params.seed, file=file)
    if len(documents) > len(texts) or params.pretrained:  # later stages look up these words only
        words, vectors = select_words(words, vectors, documents.first(len(texts)).counts().keys())
    save_vectors(VECTORS, words, vectors)
    print(
        f"{params.pretrained or params.glove.source}: {len(words):,} vectors of "
        f"{vectors.shape[1]} for the words of {len(texts):,} papers, "
        f"{len(documents) - len(texts):,} more papers read -> {VECTORS}"
    )


if __name__ == "__main__":
    run(main)
