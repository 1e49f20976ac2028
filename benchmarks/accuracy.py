"""Every contender on the same splits: what a user might use instead, and this project's models.

    python benchmarks/accuracy.py --data papers.csv.gz --pretrained pretraining/model \
        --minilm minilm.npz --dump arxiv-metadata-oai-snapshot.json.gz

--data: labelled papers. --pretrained: an encoder that has not read them (pretraining/README.md,
`leave_out`); a second one makes the ensemble more diverse. --minilm: the output of minilm.py.
--dump: more labelled papers, for the protocol `more labels`. Relative paths start at the
repository's root. Results go to benchmarks/results/accuracy.csv, probabilities beside it, and a
finished run is not repeated. All choices are made on validation papers; benchmarks/README.md
explains the columns.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import numpy.typing as npt
import pandas as pd
import runner
from runner import ROOT, Stopwatch, percent
from scipy import stats
from sklearn.linear_model import LogisticRegression
from workload import Splits, params_with, split_papers, train

from arxiv_hybrid.data.identifiers import canonical, text_key
from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.evaluation.ensemble import Vote
from arxiv_hybrid.evaluation.linear import fit_linear
from arxiv_hybrid.evaluation.metrics import scores
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Labels, Params
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system import digests as file_digests
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, PUBLISHED

TABLE = runner.Results(ROOT / "benchmarks/results/accuracy.csv", key="run")
PROBABILITIES = ROOT / "benchmarks/results/probabilities"
TEST_TO_TRAIN = 0.15 / 0.70  # sizes of a test and a training set
STRENGTHS = (1.0, 5.0, 20.0)  # C of MiniLM's logistic regression; validation accuracy decides
# parameters that change no probability here; splits and files are part of a run's name anyway
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes"}
IDLE |= {"fetch", "split", "pretrained"}
# networks of the ensemble: seed, and which of --pretrained (modulo their number); the first one is
# the single model of the table
MEMBERS = {"v5-42": (42, 0), "v5-123": (123, 1)}
SHOWN = {"linear": "TF-IDF + linear", "minilm": "MiniLM + logistic regression"}
SHOWN |= {"v5-42": "v5, pre-trained", "ensemble": "ensemble"}  # contenders in the table
COSTS = {"train_seconds": "train s", "documents_per_second": "documents/s", "megabytes": "MB"}
PRIMARY = Labels.model_validate({"from": "primary", "classes": 4})
Floats = npt.NDArray[np.float64]
Predicted = dict[str, Floats]  # probabilities (N, C) of validation and test papers: val, test
sha256, load_encoder = cache(file_digests.of_file), cache(load_pretrained)


@dataclass(frozen=True)
class Protocol:
    """How papers are labelled and split, and which splits are measured."""

    name: str
    labels: str = "primary"
    classes: int = 4
    by: str = "paper"
    seeds: tuple[int, ...] = (42, 43, 44, 45, 46)
    more: bool = False  # train on the labels of the dump, too
    changes: tuple[tuple[str, Any], ...] = ()  # to v5's recipe


PROTOCOLS = (
    Protocol("clean"),
    Protocol("published", labels="query", classes=3, by="row", seeds=(42,)),
    Protocol("time", by="time", seeds=(42,)),
    Protocol("more labels", seeds=(42,), more=True, changes=(("epochs", 2),)),
)


@dataclass(frozen=True)
class Sources:
    """The files that the contenders read."""

    data: Path
    pretrained: tuple[Path, ...]
    minilm: Path | None = None
    dump: Path | None = None

    @cached_property
    def papers(self) -> pd.DataFrame:
        """The rows of --data."""
        return read_csv(self.data, option="--data")

    @cached_property
    def dump_papers(self) -> pd.DataFrame:
        """The dump's papers in the four categories that are not in --data, labelled."""
        assert self.dump is not None
        dump = read_snapshot(
            self.dump, categories=CATEGORIES, per_category=None, sample="newest", seed=0,
            window=Window(),
        )  # fmt: skip
        labelled = label_papers(dump.table(), PRIMARY).documents
        keys = set(texts_of(self.papers.drop_duplicates("id")).map(text_key))
        known = labelled["id"].isin(self.papers["id"]) | texts_of(labelled).map(text_key).isin(keys)
        return labelled[~known]

    @cached_property
    def embeddings(self) -> tuple[dict[str, int], npt.NDArray[np.float32], float]:
        """MiniLM's vectors: the row of each paper id, the rows, and encoding seconds per paper."""
        assert self.minilm is not None
        try:
            with np.load(self.minilm) as stored:
                rows = {canonical(str(name)): row for row, name in enumerate(stored["id"])}
                vectors, seconds = stored["vectors"], float(stored["seconds"])
        except (ValueError, KeyError, OSError) as error:
            raise UserError(f"{self.minilm}: not from benchmarks/minilm.py: {error}") from None
        if missing := set(self.papers["id"]) - set(rows):
            raise UserError(f"{self.minilm}: has no vector for {min(missing)}; encode this --data")
        return rows, vectors, seconds / len(rows)

    def encoder(self, contender: str) -> Path:
        """The folder of the encoder that a network starts from."""
        return self.pretrained[MEMBERS[contender][1] % len(self.pretrained)]

    def digest(self, contender: str, protocol: Protocol) -> str:
        """A digest of the files that a contender reads."""
        files = [self.data, *([self.dump] if protocol.more else [])]
        if contender == "minilm":
            files.append(self.minilm)
        elif contender in MEMBERS:
            files += sorted(self.encoder(contender).iterdir())
        digests = "".join(sha256(file) for file in files if file)
        return hashlib.sha256(digests.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """One contender on one split; `inputs` is a digest of the files that it reads."""

    protocol: Protocol
    seed: int
    contender: str  # linear, minilm, or one of MEMBERS
    inputs: str

    @cached_property
    def name(self) -> str:
        """A readable name that changes with the input files and the parameters."""
        network = self.contender in MEMBERS
        recipe = self.params.model_dump(mode="json", exclude=IDLE) if network else None
        suffix = runner.digest([str(self.protocol), self.seed, self.inputs, recipe])
        return f"{self.contender}-{self.protocol.name.replace(' ', '-')}-{self.seed}-{suffix}"

    @cached_property
    def params(self) -> Params:
        """The shipped parameters with the changes of the protocol and the network."""
        protocol, (seed, _) = self.protocol, MEMBERS.get(self.contender, (42, 0))
        settings = [f"labels.from={protocol.labels}", f"labels.classes={protocol.classes}"]
        settings += ["split.val=0.15", "split.test=0.15", f"split.seed={self.seed}"]
        settings += [f"{key}={value}" for key, value in protocol.changes]
        settings += ["model=v5", "pretrained=an-encoder"]  # which brings its own widths
        return params_with([f"seed={seed}", f"split.by={protocol.by}", *settings])

    def splits(self, sources: Sources) -> tuple[Splits, LabelSet]:
        """Labelled papers and their classes; `more labels` trains on the dump's papers, too."""
        parts, label_set = split_papers(sources.papers, self.params)
        if self.protocol.more:
            both = [parts["train"], sources.dump_papers]
            parts["train"] = pd.concat(both, ignore_index=True)
        return parts, label_set

    def probabilities(self) -> Predicted | None:
        """The stored probabilities, if there are any."""
        path = PROBABILITIES / f"{self.name}.npz"
        if not path.is_file():
            return None
        with np.load(path) as stored:
            return dict(stored)


def train_contender(
    run: Run, parts: Splits, label_set: LabelSet, sources: Sources
) -> tuple[Predicted, tuple[float, ...]]:
    """Probabilities of validation and test papers, and the costs in the order of COSTS."""
    if run.contender == "linear":
        with Stopwatch() as watch:
            linear = fit_linear(**parts, label_set=label_set)
        megabytes = linear.features * len(label_set) * 8 / 1e6
        return {"val": linear.val, "test": linear.test}, (watch.seconds, np.nan, megabytes)
    if run.contender == "minilm":
        rows, vectors, each = sources.embeddings
        with Stopwatch() as watch:
            x = {name: vectors[[rows[i] for i in part["id"]]] for name, part in parts.items()}
            y = {name: part["label"].to_numpy() for name, part in parts.items()}
            models = (LogisticRegression(C=c, max_iter=1000) for c in STRENGTHS)
            fitted = (model.fit(x["train"], y["train"]) for model in models)
            best = max(fitted, key=lambda model: float(model.score(x["val"], y["val"])))
        encoding = each * sum(part["id"].nunique() for part in parts.values())
        p = {name: best.predict_proba(x[name]) for name in ("val", "test")}
        return p, (watch.seconds + encoding, 1 / each, 91.0)
    encoder = load_encoder(sources.encoder(run.contender))
    encoder.check_held_out({*parts["val"]["id"], *parts["test"]["id"]})
    with Stopwatch() as watch:
        network, _ = train(
            run.params, parts, encoder.vocabulary, encoder.embeddings, label_set, encoder
        )
    val = network.probabilities(parts["val"]).numpy()
    with Stopwatch() as test_watch:
        test = network.probabilities(parts["test"]).numpy()
    megabytes = sum(p.numel() * p.element_size() for p in network.model.parameters()) / 1e6
    speed = len(test) / test_watch.seconds
    return {"val": val, "test": test}, (watch.seconds, speed, megabytes)


def to_own_shares(p: Predicted, parts: Splits, own_ids: set[str]) -> Predicted:
    """Move probabilities to the class shares of the training papers with own_ids.

    They come from a model trained on all papers (Saerens et al. 2002). The temperature is fitted
    again on validation papers.
    """
    papers, classes = parts["train"], p["val"].shape[1]
    own = papers[papers["id"].isin(own_ids)]
    old, new = (np.bincount(part["label"], minlength=classes) / len(part) for part in (papers, own))
    moved = {name: values * (new / old) for name, values in p.items()}
    moved = {name: values / values.sum(1, keepdims=True) for name, values in moved.items()}
    alone = Vote.fit(parts["val"]["label"].to_numpy(), {"moved": moved["val"]}, "equal")
    return {name: alone.predict({"moved": p}).probabilities for name, p in moved.items()}


def plan(sources: Sources, names: list[str], members: int) -> list[Run]:
    """All runs: the cheap contenders on every split first, then one network after the other."""
    protocols = [p for p in PROTOCOLS if p.name in names and (sources.dump or not p.more)]
    contenders = ["linear", *(["minilm"] if sources.minilm else []), *list(MEMBERS)[:members]]
    return [
        Run(protocol, seed, contender, sources.digest(contender, protocol))
        for contender in contenders
        for protocol in protocols
        for seed in protocol.seeds
        if not (protocol.more and contender == "minilm")  # the dump is not encoded
    ]


def execute(run: Run, sources: Sources) -> dict[str, Any]:
    """Train one contender and store its probabilities; the row of accuracy.csv."""
    parts, label_set = run.splits(sources)
    p, costs = train_contender(run, parts, label_set, sources)
    if run.protocol.more:
        p = to_own_shares(p, parts, set(sources.papers["id"]))
    with atomic(PROBABILITIES / f"{run.name}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, val=p["val"], test=p["test"])
    return {
        "run": run.name,
        "protocol": run.protocol.name,
        "split_seed": run.seed,
        "contender": run.contender,
        "val_accuracy": float((p["val"].argmax(1) == parts["val"]["label"]).mean()),
        **measures(parts["test"], p["test"], label_set.names),
        **dict(zip(COSTS, costs, strict=True)),
    }


def measures(papers: pd.DataFrame, probabilities: Floats, names: Sequence[str]) -> dict[str, float]:
    """Columns of accuracy.csv for test papers and their probabilities (N, C)."""
    listed = multi_hot(papers["labels"], len(names))
    result = scores(papers["label"].to_numpy(), probabilities, list(names), listed=listed)
    row = {name: result[name] for name in ("accuracy", "macro_f1", "calibration_error")}
    recall = result["per_class"][names[0]]["recall"]  # of cs.AI, or cs.AI with cs.LG
    return row | {"any_listed": result["accuracy_any_listed"], "recall_ai": recall}


def derived_rows(runs: list[Run], sources: Sources) -> Iterator[dict[str, Any]]:
    """Rows that need no training: the ensembles, and `clean` with cs.AI and cs.LG as one class.

    Weights and temperature of an ensemble are fitted on validation papers.
    """
    for protocol, seed in dict.fromkeys((run.protocol, run.seed) for run in runs):
        mine = [run for run in runs if (run.protocol, run.seed) == (protocol, seed)]
        stored = {run.contender: p for run in mine if (p := run.probabilities())}
        voters = [run.contender for run in mine if run.contender != "minilm"]
        if not stored:
            continue
        parts, label_set = mine[0].splits(sources)
        row = {"protocol": protocol.name, "split_seed": seed}
        test = {name: p["test"] for name, p in stored.items()}
        if len(voters) >= 3 and stored.keys() >= set(voters):
            labels = parts["val"]["label"].to_numpy()
            vote = Vote.fit(labels, {name: stored[name]["val"] for name in voters}, "fitted")
            test["ensemble"] = vote.predict({name: test[name] for name in voters}).probabilities
            scored = measures(parts["test"], test["ensemble"], label_set.names)
            yield row | {"contender": "ensemble"} | scored
        if protocol.name == "clean":
            papers, names = three_classes(parts["test"]), list(PUBLISHED[3])
            row["protocol"] = "clean, 3 classes"
            for name, values in test.items():
                yield row | {"contender": name} | measures(papers, merged(values), names)


def three_classes(papers: pd.DataFrame) -> pd.DataFrame:
    """Papers of the four classes with cs.AI and cs.LG as one class."""
    labels = papers["labels"].map(lambda numbers: sorted({number % 3 for number in numbers}))
    return papers.assign(label=papers["label"] % 3, labels=labels)


def merged(probabilities: Floats) -> Floats:
    """Four classes (N, 4) as three (N, 3): cs.AI and cs.LG become one and come first."""
    ai, cl, cv, lg = probabilities.T
    return np.stack([ai + lg, cl, cv], axis=1)


def report(results: pd.DataFrame) -> str:
    """Markdown, one line per protocol and contender: means over splits, gains over others."""
    lines = []
    for protocol in dict.fromkeys(results["protocol"]):
        measured = results[results["protocol"] == protocol].set_index("split_seed")
        by_contender = dict(list(measured.groupby("contender")))
        for contender, shown in SHOWN.items():
            if contender not in by_contender:
                continue
            mine = by_contender[contender]
            gains = [gain(mine, by_contender.get(name)) for name in ("linear", "minilm")]
            cells = [protocol, shown, percent(mine["accuracy"]), *gains, percent(mine["macro_f1"])]
            cells += [percent(mine["any_listed"]), f"{mine['calibration_error'].mean():.3f}"]
            cells.append(percent(mine["recall_ai"]))
            costs = (mine[name].mean() for name in COSTS)
            lines.append([*cells, *("" if np.isnan(cost) else f"{cost:,.0f}" for cost in costs)])
    header = ["protocol", "contender", "accuracy", "over linear", "over MiniLM", "macro-F1"]
    header += ["any listed", "calibration error", "recall of cs.AI", *COSTS.values()]
    return runner.markdown(header, lines)


def gain(mine: pd.DataFrame, other: pd.DataFrame | None) -> str:
    """Mean gain in accuracy on the same splits, with a 95 % interval if there are several.

    The splits share papers, so the variance is corrected for that (Nadeau and Bengio 2003).
    """
    if other is None or other is mine:
        return ""
    gains = 100 * (mine["accuracy"] - other["accuracy"]).dropna()
    mean, count = gains.mean(), len(gains)
    if count < 2:
        return f"{mean:+.1f}"
    half = stats.t.ppf(0.975, count - 1) * gains.std() * np.sqrt(1 / count + TEST_TO_TRAIN)
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, print the table and write it to benchmarks/results/accuracy.md."""
    parser, count = runner.new_parser(__doc__), len(MEMBERS)
    parser.add_argument("--data", required=True, help="a CSV of papers with labels")
    parser.add_argument("--pretrained", nargs="+", required=True, help="encoders of pretraining/")
    parser.add_argument("--minilm", help="an .npz of benchmarks/minilm.py")
    parser.add_argument("--dump", help="a metadata dump, for the protocol `more labels`")
    parser.add_argument("--members", type=int, choices=range(1, count + 1), default=count)
    parser.add_argument("--protocols", default="", help="some of them, separated by commas")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    options = parser.parse_args(arguments)
    files = {name: getattr(options, name) for name in ("data", "minilm", "dump")}
    paths = {name: runner.existing_path(file, name) for name, file in files.items() if file}
    folders = (runner.existing_path(folder, "pretrained") for folder in options.pretrained)
    sources = Sources(pretrained=tuple(folders), **paths)
    known = [protocol.name for protocol in PROTOCOLS]
    names = runner.select(options.protocols, known, "protocols")
    if options.protocols and "more labels" in names and sources.dump is None:
        raise UserError("--protocols: `more labels` needs --dump")
    if sources.minilm is not None:
        _ = sources.embeddings  # a wrong file fails before any training
    runs = plan(sources, names, options.members)

    def tabulate(results: pd.DataFrame) -> str:
        derived = pd.DataFrame(derived_rows(runs, sources))
        return report(pd.concat([part for part in (results, derived) if len(part)]))

    return runner.make_table(
        runs,
        TABLE,
        lambda run: execute(run, sources),
        tabulate,
        save_as=TABLE.path.with_suffix(".md") if len(names) == len(known) else None,
        dry_run=options.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
