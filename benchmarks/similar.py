"""Vectors of papers for `similar`: this project's against MiniLM's, on 10,000 held-out papers.

    python benchmarks/similar.py --dump arxiv_2015_2017.json.xz \
        --minilm-titles titles.npz --minilm-abstracts abstracts.npz

The papers are validation and test papers of the task `natural` (tasks.py). Measured are the share
of titles whose own abstract is the nearest of all abstracts, and how well the categories of a paper
agree with those of the paper nearest to it. Cosines compare vectors, by exact search. --pretrained:
another model than the shipped one; it must not have read the papers. --minilm-titles and
--minilm-abstracts: outputs of minilm.py for the papers `similar` of held_out.py. Results go to
benchmarks/results/similar.csv, and a finished run is not repeated.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any

import held_out
import numpy as np
import numpy.typing as npt
import pandas as pd
import runner
from minilm_vectors import Encodings
from runner import ROOT, Stopwatch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from workload import encoder_folder, folder_digest

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.inference.similar import nearest, paper_vectors
from arxiv_hybrid.models.pooled import SHARED_DIM, PooledCNN
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.training.from_encoder import features_of

TABLE = runner.Results(ROOT / "benchmarks/results/similar.csv", key="run")
SHOWN = {"vectors": "v6, vectors of `similar`", "features": "v6, input of the last layer"}
SHOWN |= {"minilm": "MiniLM"}
SEARCHED, SEARCHES, TOP = 100_000, 50, 10  # vectors, repetitions, papers found
BLOCK = 1000  # rows of similarities in memory
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """Unit vectors (N, D) of the same papers: of titles, of abstracts, and of both together."""

    titles: Floats
    abstracts: Floats
    papers: Floats


@dataclass(frozen=True)
class Sources:
    """The files that the contenders read."""

    dump: Path
    model: Path
    minilm: tuple[Path, Path] | None = None  # titles, abstracts

    @cached_property
    def papers(self) -> pd.DataFrame:
        """The papers: id, title, abstract, all_categories."""
        return held_out.sample(held_out.held_out("natural", self.dump))

    def minilm_vectors(self) -> list[Encodings]:
        """MiniLM's vectors of titles and of abstracts; UserError if a paper has none."""
        assert self.minilm is not None
        found = [Encodings.read([file]) for file in self.minilm]
        for vectors, file, text in zip(found, self.minilm, ("titles", "abstracts"), strict=True):
            vectors.require(self.papers["id"], [file], f"--minilm-{text}")
        return found


@dataclass(frozen=True)
class Run:
    """One kind of vectors, or `search`: the time of exact search; inputs: a digest of its files."""

    contender: str
    inputs: str

    @property
    def name(self) -> str:
        """The contender and the digest."""
        return f"{self.contender}-{self.inputs}"


def vectors_of(contender: str, sources: Sources) -> Vectors:
    """The vectors of one contender; UserError if the model has read one of the papers."""
    papers = sources.papers
    if contender == "minilm":
        titles, abstracts = (unit(each.of(papers["id"])) for each in sources.minilm_vectors())
        return Vectors(titles, abstracts, unit(titles + abstracts))
    load_pretrained(sources.model).check_held_out(papers["id"].tolist())
    classifier = checkpoint.load_network(sources.model)
    make = paper_vectors if contender == "vectors" else features
    titles = make(classifier, papers.assign(abstract=""))
    abstracts = make(classifier, papers.assign(title=""))
    return Vectors(titles, abstracts, make(classifier, papers))


def features(classifier: Classifier, papers: pd.DataFrame) -> Floats:
    """Unit vectors (N, F) of the input of the last layer, less their mean over the papers."""
    model = classifier.model
    if not isinstance(model, PooledCNN):
        raise UserError(f"a {classifier.config.model} has no such features; name a v6")
    encoded = classifier.encode(papers[["title", "abstract"]])
    values = features_of(model, encoded, classifier.device_config).cpu().numpy()
    return unit(values - values.mean(0))


def unit(values: Floats) -> Floats:
    """Rows (N, D) divided by their lengths."""
    result: Floats = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    return result


def found_own(titles: Floats, abstracts: Floats) -> npt.NDArray[np.bool_]:
    """Whether each title's nearest abstract is its own, (N,)."""
    rows = [(titles[part] @ abstracts.T).argmax(1) for part in _blocks(len(titles))]
    found: npt.NDArray[np.bool_] = np.concatenate(rows) == np.arange(len(titles))
    return found


def nearest_others(vectors: Floats) -> npt.NDArray[np.int64]:
    """The row of the nearest other paper of each, (N,)."""
    rows = []
    for part in _blocks(len(vectors)):
        similarity = vectors[part] @ vectors.T
        similarity[np.arange(len(part)), part] = -np.inf
        rows.append(similarity.argmax(1))
    return np.concatenate(rows)


def _blocks(rows: int) -> list[npt.NDArray[np.int64]]:
    return np.split(np.arange(rows), np.arange(BLOCK, rows, BLOCK))


def agreement(listed: Sequence[tuple[str, ...]], other: npt.NDArray[np.int64]) -> dict[str, float]:
    """How papers' categories agree with those of other papers, whose rows are `other` (N,).

    same_primary: share of papers with the same primary category. jaccard: the mean of common
    categories over all of both.
    """
    pairs = [(mine, listed[row]) for mine, row in zip(listed, other.tolist(), strict=True)]
    common = [len({*a} & {*b}) / len({*a} | {*b}) for a, b in pairs]
    same = [a[0] == b[0] for a, b in pairs]
    return {"same_primary": float(np.mean(same)), "jaccard": float(np.mean(common))}


def search_milliseconds(dim: int = SHARED_DIM) -> float:
    """The median time of one search among `SEARCHED` vectors on one core."""
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(SEARCHED, dim)).astype(np.float32))
    durations = []
    with threadpool_limits(1):
        for query in vectors[:SEARCHES]:
            with Stopwatch() as watch:
                nearest(vectors, query, TOP)
            durations.append(1000 * watch.seconds)
    return median(durations)


def execute(run: Run, sources: Sources) -> dict[str, Any]:
    """Measure one contender; the row of similar.csv."""
    row: dict[str, Any] = {"run": run.name, "contender": run.contender}
    if run.contender == "search":
        return row | {"milliseconds": search_milliseconds()}
    vectors, listed = vectors_of(run.contender, sources), list(sources.papers["all_categories"])
    row |= {
        "papers": len(listed),
        "own_abstract": float(found_own(vectors.titles, vectors.abstracts).mean()),
    }
    return row | agreement(listed, nearest_others(vectors.papers))


def report(results: pd.DataFrame) -> str:
    """Markdown, one line per kind of vectors, and the time of a search."""
    rows = {row["contender"]: row for row in results.to_dict("records")}
    lines = []
    for contender, shown in SHOWN.items():
        if row := rows.get(contender):
            share = [_share(row[name], row["papers"]) for name in ("own_abstract", "same_primary")]
            lines.append([shown, *share, f"{100 * row['jaccard']:.1f}"])
    header = ["vectors", "own abstract is nearest", "same primary category", "Jaccard"]
    table = runner.markdown(header, lines)
    if search := rows.get("search"):
        table += f"\n\nSearch among {SEARCHED:,} vectors on one core: "
        table += f"{search['milliseconds']:.1f} ms."
    return table


def _share(share: float, papers: float) -> str:
    """A share in percent, with the half-width of its 95 % interval."""
    return f"{100 * share:.1f} ± {196 * np.sqrt(share * (1 - share) / papers):.1f}"


def plan(sources: Sources) -> list[Run]:
    """All runs; MiniLM only if its vectors are given."""
    sha256 = cache(digests.of_file)
    dump, model = sha256(sources.dump), folder_digest(sources.model)
    runs = [Run(name, runner.digest([dump, model])) for name in ("vectors", "features")]
    if sources.minilm:
        runs.append(Run("minilm", runner.digest([dump, *map(sha256, sources.minilm)])))
    return [*runs, Run("search", str(SHARED_DIM))]


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Make the missing runs, print the table and write it to benchmarks/results/similar.md."""
    parser = runner.new_parser(__doc__)
    parser.add_argument("--dump", required=True, help="the dump of the task `natural`")
    parser.add_argument("--pretrained", help="a folder of pretraining/ (the shipped model)")
    for text in ("titles", "abstracts"):
        parser.add_argument(f"--minilm-{text}", help=f"an .npz of minilm.py with these {text}")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    options = parser.parse_args(arguments)
    files = [options.minilm_titles, options.minilm_abstracts]
    if any(files) and not all(files):
        raise UserError("--minilm-titles and --minilm-abstracts belong together")
    names = ("minilm-titles", "minilm-abstracts")
    titles, abstracts = (
        runner.existing_path(file, name) if file else None
        for file, name in zip(files, names, strict=True)
    )
    minilm = (titles, abstracts) if titles and abstracts else None
    dump = runner.existing_path(options.dump, "dump")
    sources = Sources(dump, encoder_folder(options.pretrained), minilm)
    return runner.make_table(
        plan(sources),
        TABLE,
        lambda run: execute(run, sources),
        report,
        save_as=TABLE.path.with_suffix(".md"),
        dry_run=options.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
