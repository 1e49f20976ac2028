"""The papers that the benchmarks test on, as a CSV: for `leave_out` of pre-training, and minilm.py.

    python benchmarks/held_out.py --data papers.csv.gz --natural arxiv_2015_2017.json.xz \
        --balanced arxiv_149_categories.json.xz --snapshot arxiv_snapshot_2025.json.gz \
        --output leave_out.csv

It holds all papers of --data (accuracy.py), and of tasks.py the validation and test papers of
`natural` and `balanced` and all papers of `six-fields`. `similar` marks the papers of similar.py,
which are some of `natural`. The columns are id, title, abstract, and the benchmarks of the paper,
separated by spaces. Ids that lost zeros as numbers have them again. The dumps are read as streams;
only held-out papers stay in memory.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import runner
import tasks
from runner import existing_path

from arxiv_hybrid.data.identifiers import with_zeros
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.sources.snapshot_scan import RawPaper
from arxiv_hybrid.sources.snapshot_source import blocks_of_all
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.taxonomy.categories import without_aliases

OWN, SIX, SIMILAR = "accuracy", "six-fields", "similar"  # names in the column benchmarks
COLUMNS = ("id", "title", "abstract", "benchmarks")
SAMPLE = 10_000  # papers of similar.py
TEXTS = ["id", "title", "abstract"]
ANY = LabelSet(("any class",))


def papers_of(dump: Path) -> Iterator[RawPaper]:
    """Every paper of a dump once, in file order."""
    seen: set[str] = set()
    for block in blocks_of_all(dump, option="--dump"):
        for paper in block.papers:
            if paper.id not in seen:
                seen.add(paper.id)
                yield paper


def held_out(task: str, dump: Path) -> pd.DataFrame:
    """The validation and test papers of `natural` or `balanced`, in file order.

    The columns are id, title, abstract and all_categories (aliases replaced, the primary one
    first). Papers of rare categories, which the task leaves out, are among them.
    """
    run = tasks.plan(tasks.TASKS[task], tasks.Inputs(dump))[0]
    every = pd.DataFrame(
        [(paper.id, paper.published) for paper in papers_of(dump)], columns=["id", "published"]
    )
    parts = split_documents(every.assign(label=0), run.params.split, ANY)
    chosen = {*parts["val"]["id"], *parts["test"]["id"]}
    rows = [
        (with_zeros(paper.id), paper.title, paper.abstract, without_aliases(paper.categories))
        for paper in papers_of(dump)
        if paper.id in chosen
    ]
    table = pd.DataFrame(rows, columns=[*TEXTS, "all_categories"])
    return table.drop_duplicates("id", ignore_index=True)


def sample(natural: pd.DataFrame) -> pd.DataFrame:
    """The papers of similar.py: some of `held_out("natural", ...)`, always the same."""
    return natural.sample(min(SAMPLE, len(natural)), random_state=0)


@dataclass
class Collection:
    """Held-out papers by id: title, abstract and benchmarks."""

    papers: dict[str, tuple[str, str, list[str]]] = field(default_factory=dict)

    def add(self, benchmark: str, papers: pd.DataFrame) -> None:
        """Add papers (id, title, abstract), and print how many there are."""
        ids = dict.fromkeys(with_zeros(name) for name in papers["id"])
        for identifier, title, abstract in papers[TEXTS].itertuples(index=False):
            paper = self.papers.setdefault(with_zeros(identifier), (title, abstract, []))
            if benchmark not in paper[2]:
                paper[2].append(benchmark)
        print(f"{benchmark}: {len(ids):,} papers", flush=True)

    def rows(self) -> Iterable[tuple[str, ...]]:
        """The rows of the CSV."""
        for identifier, (title, abstract, benchmarks) in self.papers.items():
            yield identifier, title, abstract, " ".join(benchmarks)


@exit_on_user_error("stopped")
def main(arguments: list[str] | None = None) -> int:
    """Write the CSV."""
    parser = runner.new_parser(__doc__)
    parser.add_argument("--data", required=True, help="the CSV of papers of accuracy.py")
    parser.add_argument("--natural", required=True, help="the dump of the task `natural`")
    parser.add_argument("--balanced", required=True, help="the dump of the task `balanced`")
    parser.add_argument("--snapshot", required=True, help="the dump of the task `six-fields`")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    options = parser.parse_args(arguments)
    names = ("data", "natural", "balanced", "snapshot")
    paths = {name: existing_path(getattr(options, name), name) for name in names}
    found = Collection()
    natural = held_out("natural", paths["natural"])
    found.add("natural", natural)
    found.add(SIMILAR, sample(natural))
    found.add("balanced", held_out("balanced", paths["balanced"]))
    found.add(SIX, tasks.newest_of_fields(paths["snapshot"]))
    found.add(OWN, read_csv(paths["data"], option="--data").drop_duplicates("id"))
    with atomic(options.output) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(found.rows())
    print(f"{len(found.papers):,} papers -> {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
