"""Loading word vectors from a file of GloVe's size, and training them on real papers.

    python benchmarks/vectors.py [--words N] [--vocabulary N]
    python benchmarks/vectors.py --data CSV [--dump DUMP] [--papers N] [--passes N] [--rounds N]

The first form generates a .zip (400,000 words, 300 numbers each, about 1 GB unpacked), then loads
the vectors of 38,000 words line by line, with this project's reader, and from the output of the
`glove` stage. The second form trains with each method in turn on the texts of the CSV, or on the
first papers of the dump, and shows how well papers are classified by the mean of their words'
vectors. These texts include those of the test papers, without labels, for all methods alike.
"""

import io
import os
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import arxiv_hybrid  # noqa: F401 (before torch: it says how long threads spin)

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import pandas as pd
import workload
from runner import Speed, Stopwatch, markdown, new_parser, percent, print_speeds
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.sources.snapshot_source import read_texts
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.vectors.files import read_vectors
from arxiv_hybrid.vectors.storage import load_vectors, save_vectors
from arxiv_hybrid.vectors.train import MAX_WORDS, MIN_FREQ, FloatMatrix, ppmi_svd, word2vec

DIM, WINDOW, NEGATIVES = 300, 5, 10
SPLIT_SEEDS = range(42, 47)
DISTINCT_ROWS = 2000  # vectors are drawn from this many: printing a million takes minutes


def generate(path: Path, words: int) -> None:
    """Write a .zip with one text file of `words` lines."""
    random = np.random.default_rng(1)
    numbers = random.normal(0, 0.4, (DISTINCT_ROWS, DIM))
    rows = [" ".join(f"{x:.5f}" for x in row) for row in numbers]
    which = random.integers(DISTINCT_ROWS, size=words)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"glove.{DIM}d.txt", "w", force_zip64=True) as stream,
    ):
        for start in range(0, words, 2000):
            lines = (f"w{i} {rows[which[i]]}\n" for i in range(start, min(start + 2000, words)))
            stream.write("".join(lines).encode())


def measure(words: int = 400_000, vocabulary: int = 38_000) -> Iterator[Speed]:
    """Load vectors with this project's reader, line by line, and from the stage's output."""
    wanted = {f"w{i}" for i in np.random.default_rng(2).permutation(words)[:vocabulary]}
    with tempfile.TemporaryDirectory() as folder:
        path, stored = Path(folder) / "vectors.zip", Path(folder) / "stored"
        generate(path, words)
        with Stopwatch() as watch:
            result = read_vectors(path, wanted, dim=DIM, option="--file")
        with Stopwatch() as plain, zipfile.ZipFile(path) as archive:
            reference = {}
            with archive.open(archive.namelist()[0]) as stream:
                for line in io.TextIOWrapper(stream, encoding="utf-8"):
                    word, *numbers = line.rstrip().split(" ")
                    if word in wanted:
                        reference[word] = np.asarray(numbers, dtype=np.float32)
        assert set(result.words) == set(reference)
        assert np.array_equal(result.vectors, [reference[word] for word in result.words])
        save_vectors(stored, result.words, result.vectors)
        with Stopwatch() as later:
            load_vectors(stored)
    yield Speed(
        f"GloVe, {words:,} words in a .zip",
        f"{watch.seconds:.1f} s, later {later.seconds:.2f} s",
        f"line by line: {plain.seconds:.1f} s",
        plain.seconds / watch.seconds,
    )


Vectors = tuple[list[str], FloatMatrix]


def by_gensim(tokens: TokenIds, *, epochs: int, seed: int) -> Vectors:
    """Word2vec as the stage `glove` trained it before."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=DIM, window=WINDOW, min_count=MIN_FREQ, max_final_vocab=MAX_WORDS, sg=1,
        negative=NEGATIVES, sample=1e-4, seed=seed, workers=1,
    )  # fmt: skip
    counts = tokens.counts()
    model.build_vocab_from_freq(counts, corpus_count=len(tokens))
    total = sum(counts.values())
    model.train(tokens, total_examples=len(tokens), total_words=total, epochs=epochs)
    return list(model.wv.index_to_key), model.wv.vectors


def by_word2vec(tokens: TokenIds, *, epochs: int, seed: int) -> Vectors:
    return word2vec(
        tokens, dim=DIM, window=WINDOW, min_freq=MIN_FREQ, epochs=epochs, seed=seed,
        negative=NEGATIVES,
    )  # fmt: skip


def by_ppmi_svd(tokens: TokenIds, *, epochs: int, seed: int) -> Vectors:  # noqa: ARG001
    return ppmi_svd(tokens, dim=DIM, window=WINDOW, min_freq=MIN_FREQ, seed=seed)


def accuracy(papers: pd.DataFrame, words: list[str], vectors: FloatMatrix) -> float:
    """Mean test accuracy on the clean protocol, by mean vectors and a logistic regression."""
    scores = []
    for seed in SPLIT_SEEDS:
        params = workload.params_with(
            ["labels.classes=4", "labels.from=primary", "split.by=paper", f"split.seed={seed}"]
        )
        splits, _ = workload.split_papers(papers, params)
        weights = TfidfVectorizer(analyzer=tokenize, vocabulary=words)
        weights.fit(texts_of(splits["train"]))
        train, test = (weights.transform(texts_of(splits[n])) @ vectors for n in ("train", "test"))
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=150))
        model.fit(train, splits["train"]["label"])
        scores.append(model.score(test, splits["test"]["label"]))
    return float(np.mean(scores))


def compare(data: Path, dump: Path | None, papers: int, passes: int, rounds: int) -> str:
    """Train with each method in turn, `rounds` times; a table of speeds and accuracies."""
    labelled = workload.load_papers(data)
    texts: Iterator[str] = iter(texts_of(labelled.drop_duplicates("id")))
    if dump:
        every = read_texts(dump, option="--dump", categories=None)
        texts = (f"{title} {abstract}" for _, title, abstract in every)
    tokens = TokenIds.of(islice(texts, papers))
    methods: dict[str, Callable[..., Vectors]] = {"word2vec": by_word2vec, "ppmi_svd": by_ppmi_svd}
    if find_spec("gensim"):
        methods["gensim"] = by_gensim
    else:
        print("gensim is not installed: pip install gensim==4.4.0 (Python 3.10 to 3.13)")
    word2vec([["compile"] * MIN_FREQ], dim=DIM, window=1, min_freq=1, epochs=1, seed=1)
    runs = defaultdict[str, list[tuple[float, float, float]]](list)
    for seed in range(1, rounds + 1):
        for name, method in methods.items():
            cpu = time.process_time()
            with Stopwatch() as watch:
                words, vectors = method(tokens, epochs=passes, seed=seed)
            cpu = time.process_time() - cpu
            runs[name].append((watch.seconds, cpu, accuracy(labelled, words, vectors)))
            print(f"{name}: {watch.seconds:.1f} s, {cpu:.1f} s of CPU", flush=True)
    read = passes * len(tokens.ids)
    rows = []
    for name, values in runs.items():
        seconds, cpu, _ = np.median(values, axis=0)
        speeds = [f"{read / s:,.0f}" if name != "ppmi_svd" else "" for s in (seconds, cpu)]
        scores = percent(pd.Series([score for *_, score in values]))
        rows.append([name, f"{seconds:.1f}", f"{cpu:.1f}", *speeds, scores])
    header = ["method", "s", "s of CPU", "words/s", "words/s of CPU", "accuracy of mean vectors, %"]
    title = f"{len(tokens):,} papers, {len(tokens.ids):,} words, {passes} passes, {rounds} rounds"
    return f"{title}\n\n{markdown(header, rows)}"


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--vocabulary", type=int, default=38_000)
    parser.add_argument("--data", type=Path, help="train on this CSV of papers and judge by it")
    parser.add_argument("--dump", type=Path, help="train on a metadata dump instead")
    parser.add_argument("--papers", type=int, default=50_000, help="at most so many")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with exit_on_user_error("stopped"):
        if given.data:
            print(compare(given.data, given.dump, given.papers, given.passes, given.rounds))
        else:
            print_speeds(measure(given.words, given.vocabulary))
