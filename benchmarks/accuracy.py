"""Every contender on the same splits: what a user might use instead, and this project's models.

    python benchmarks/accuracy.py --data papers.csv.gz --pretrained pretraining/model \
        --pretrained-until ENCODER --pretrained-text ENCODER \
        --minilm minilm.npz more.npz --dump arxiv_snapshot_2025.json.gz

--data: labelled papers. Encoders come from pretraining/ and have not read these papers
(`leave_out`); without --pretrained, the shipped one is used. --pretrained-until: one that stops
before the months of the test papers of the protocol `time` (`until`). --pretrained-text: one that
has seen no categories (`objectives: [titles]`). Runs whose encoder is not given are left out.
--minilm: outputs of minilm.py. --dump: more labelled papers, for the protocol `more labels`;
--write-more writes them as a CSV for minilm.py. Relative paths start at the repository's root.
Results go to benchmarks/results/accuracy.csv, probabilities beside it, and a finished run is not
repeated. All choices are made on validation papers; benchmarks/README.md explains the columns.
"""

import hashlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import numpy.typing as npt
import pandas as pd
import runner
from minilm_vectors import Encodings, fit_logistic
from runner import ROOT, Stopwatch, percent
from scipy import stats
from workload import (
    Splits,
    encoder_folder,
    folder_digest,
    params_with,
    split_papers,
    train,
)

from arxiv_hybrid.data.identifiers import month_of, text_key, with_zeros
from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.evaluation.ensemble import Vote
from arxiv_hybrid.evaluation.linear import fit_linear
from arxiv_hybrid.evaluation.metrics import scores
from arxiv_hybrid.inference.pretrained import Pretrained, load_pretrained
from arxiv_hybrid.params import Labels, Params
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system import digests as file_digests
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.files import atomic, write_csv
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, PUBLISHED

TABLE = runner.Results(ROOT / "benchmarks/results/accuracy.csv", key="run")
PROBABILITIES = ROOT / "benchmarks/results/probabilities"
TEST_TO_TRAIN = 0.15 / 0.70  # sizes of a test and a training set
# parameters that change no probability here; splits and files are part of a run's name anyway
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes"}
IDLE |= {"fetch", "split", "pretrained"}
MEMBERS = {"v6-42": 42, "v6-123": 123}  # networks of the ensemble, and their seeds
SINGLE = "v6-42"  # the single model of the table
TEXT = "v6-text"  # the same from an encoder that has seen no categories; on `clean` only
NETWORKS = {**MEMBERS, TEXT: 42}
WITHOUT = "without"  # in the protocol `more labels`: the single model of `clean`
SHOWN = {"linear": "TF-IDF + linear", "minilm": "MiniLM + logistic regression"}
SHOWN |= {SINGLE: "v6, pre-trained", TEXT: "v6, pre-trained without labels"}
SHOWN |= {WITHOUT: "v6, without these papers", "ensemble": "ensemble"}  # contenders in the table
ENCODERS = ("pretrained", "pretrained_until", "pretrained_text")  # options that name one
COSTS = {"train_seconds": "train s", "documents_per_second": "documents/s", "megabytes": "MB"}
PRIMARY = Labels.model_validate({"from": "primary", "classes": 4})
Floats = npt.NDArray[np.float64]
Predicted = dict[str, Floats]  # probabilities (N, C) of validation and test papers: val, test
sha256, load_encoder = cache(file_digests.of_file), cache(load_pretrained)
folder_sha256 = cache(folder_digest)


@dataclass(frozen=True)
class Protocol:
    """How papers are labelled and split, and which splits are measured."""

    name: str
    labels: str = "primary"
    classes: int = 4
    by: str = "paper"
    seeds: tuple[int, ...] = (42, 43, 44, 45, 46)
    more: bool = False  # train on the labels of the dump, too
    encoder: str = "pretrained"  # one of ENCODERS
    changes: tuple[tuple[str, Any], ...] = ()  # to v6's recipe


PROTOCOLS = (
    Protocol("clean"),
    Protocol("published", labels="query", classes=3, by="row", seeds=(42,)),
    Protocol("time", by="time", seeds=(42,), encoder="pretrained_until"),
    Protocol("more labels", more=True, changes=(("epochs", 2),)),
)


@dataclass(frozen=True)
class Sources:
    """The files that the contenders read."""

    data: Path
    encoders: Mapping[str, Path]  # by ENCODERS
    minilm: tuple[Path, ...] = ()
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
    def encodings(self) -> Encodings:
        """MiniLM's vectors; UserError if a paper of --data has none."""
        encodings = Encodings.read(self.minilm)
        encodings.require(self.papers["id"], self.minilm, "--minilm")
        return encodings

    def encoder(self, contender: str, protocol: Protocol) -> Path | None:
        """The folder of the encoder that a network starts from; None if it was not given."""
        return self.encoders.get("pretrained_text" if contender == TEXT else protocol.encoder)

    def has(self, contender: str, protocol: Protocol) -> bool:
        """Whether there is all that a contender needs for a protocol."""
        if contender == "minilm":
            if not (self.minilm and protocol.more):
                return bool(self.minilm)
            return not self.encodings.missing(self.dump_papers["id"])
        if contender == TEXT and protocol.name != "clean":
            return False
        if contender in NETWORKS:
            alone = contender == SINGLE or not protocol.more
            return alone and self.encoder(contender, protocol) is not None
        return True

    def digest(self, contender: str, protocol: Protocol) -> str:
        """A digest of the files that a contender reads."""
        files = [self.data, *([self.dump] if protocol.more else [])]
        files += self.minilm if contender == "minilm" else ()
        parts = [sha256(file) for file in files if file]
        if contender in NETWORKS and (encoder := self.encoder(contender, protocol)):
            parts.append(folder_sha256(encoder))
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """One contender on one split; `inputs` is a digest of the files that it reads."""

    protocol: Protocol
    seed: int
    contender: str  # linear, minilm, or one of NETWORKS
    inputs: str

    @cached_property
    def name(self) -> str:
        """A readable name that changes with the input files and the parameters."""
        network = self.contender in NETWORKS
        recipe = self.params.model_dump(mode="json", exclude=IDLE) if network else None
        suffix = runner.digest([str(self.protocol), self.seed, self.inputs, recipe])
        return f"{self.contender}-{self.protocol.name.replace(' ', '-')}-{self.seed}-{suffix}"

    @cached_property
    def params(self) -> Params:
        """The shipped parameters with the changes of the protocol and the network."""
        protocol, seed = self.protocol, NETWORKS.get(self.contender, 42)
        settings = [f"labels.from={protocol.labels}", f"labels.classes={protocol.classes}"]
        settings += ["split.val=0.15", "split.test=0.15", f"split.seed={self.seed}"]
        settings += [f"{key}={value}" for key, value in protocol.changes]
        settings += ["model=v6", "pretrained=an-encoder"]  # which brings its own widths
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
        each = sources.encodings.seconds
        with Stopwatch() as watch:
            p = fit_logistic(parts, sources.encodings)
        encoding = each * sum(part["id"].nunique() for part in parts.values())
        return p, (watch.seconds + encoding, 1 / each, 91.0)
    folder = sources.encoder(run.contender, run.protocol)
    assert folder is not None
    encoder = load_encoder(folder)
    check_encoder(run, parts, encoder, folder)
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


def check_encoder(run: Run, parts: Splits, encoder: Pretrained, folder: Path) -> None:
    """Raise UserError if an encoder has read what a run tests, or labels it should not know."""
    try:
        encoder.check_held_out([*parts["val"]["id"], *parts["test"]["id"]])
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if run.contender == TEXT and len(encoder.weights["head.weight"]) > 1:
        raise UserError(
            f"{folder}: has learned categories; pre-train with objectives: [titles] "
            "(--pretrained-text)"
        )
    if run.protocol.encoder == "pretrained_until":
        test = parts["test"]
        first = min(map(month_of, test["id"].map(with_zeros), test["published"]))
        last = encoder.origin.last_month or "an unknown month"
        if not last < first:
            raise UserError(
                f"{folder}: learned from papers up to {last}, but test papers start in {first}; "
                "pre-train with until (--pretrained-until)"
            )


def check_encoders(runs: list[Run], sources: Sources) -> None:
    """`check_encoder` for all runs, so that it fails before any training."""
    networks = [run for run in runs if run.contender in NETWORKS]
    for run in {(run.protocol, run.seed, run.contender == TEXT): run for run in networks}.values():
        folder = sources.encoder(run.contender, run.protocol)
        assert folder is not None
        check_encoder(run, run.splits(sources)[0], load_encoder(folder), folder)


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
    contenders = ["linear", "minilm", *list(MEMBERS)[:members], TEXT]
    return [
        Run(protocol, seed, contender, sources.digest(contender, protocol))
        for contender in contenders
        for protocol in protocols
        if sources.has(contender, protocol)
        for seed in protocol.seeds
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
    """Rows that need no training.

    The ensembles, whose weights and temperature are fitted on validation papers; `clean` with cs.AI
    and cs.LG as one class; beside `more labels`, on the same splits, the single model of `clean`.
    """
    single_runs = [run for run in runs if run.contender == SINGLE]
    clean = {run.seed: run for run in single_runs if run.protocol.name == "clean"}
    for protocol, seed in dict.fromkeys((run.protocol, run.seed) for run in runs):
        mine = [run for run in runs if (run.protocol, run.seed) == (protocol, seed)]
        stored = {run.contender: p for run in mine if (p := run.probabilities())}
        voters = [run.contender for run in mine if run.contender in ("linear", *MEMBERS)]
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
        if protocol.more and seed in clean and (single := clean[seed].probabilities()):
            scored = measures(parts["test"], single["test"], label_set.names)
            yield row | {"contender": WITHOUT} | scored
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


def options_of(arguments: list[str] | None) -> Namespace:
    """The command line."""
    parser, count = runner.new_parser(__doc__), len(MEMBERS)
    parser.add_argument("--data", required=True, help="a CSV of papers with labels")
    parser.add_argument("--pretrained", help="an encoder of pretraining/ (the shipped one)")
    parser.add_argument("--pretrained-until", help="an encoder that stops before the test months")
    parser.add_argument("--pretrained-text", help="an encoder that has seen no categories")
    parser.add_argument("--minilm", nargs="+", default=[], help=".npz files of minilm.py")
    parser.add_argument("--dump", help="a metadata dump, for the protocol `more labels`")
    parser.add_argument("--write-more", type=Path, help="only write its papers as a CSV")
    parser.add_argument("--members", type=int, choices=range(1, count + 1), default=count)
    parser.add_argument("--protocols", default="", help="some of them, separated by commas")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    return parser.parse_args(arguments)


def sources_of(options: Namespace) -> Sources:
    """The files that the options name; UserError if one is missing."""
    encoders = {"pretrained": encoder_folder(options.pretrained)}
    for name in ENCODERS[1:]:
        if value := getattr(options, name):
            encoders[name] = encoder_folder(value, name.replace("_", "-"))
    minilm = tuple(runner.existing_path(file, "minilm") for file in options.minilm)
    dump = runner.existing_path(options.dump, "dump") if options.dump else None
    return Sources(runner.existing_path(options.data, "data"), encoders, minilm, dump)


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, print the table and write it to benchmarks/results/accuracy.md."""
    options = options_of(arguments)
    sources = sources_of(options)
    known = [protocol.name for protocol in PROTOCOLS]
    names = runner.select(options.protocols, known, "protocols")
    if options.protocols and "more labels" in names and sources.dump is None:
        raise UserError("--protocols: `more labels` needs --dump")
    if options.write_more:
        if sources.dump is None:
            raise UserError("--write-more needs --dump")
        write_csv(options.write_more, sources.dump_papers[["id", "title", "abstract"]])
        print(f"{len(sources.dump_papers):,} papers -> {options.write_more}")
        return 0
    if sources.minilm:
        _ = sources.encodings  # a wrong file fails before any training
    runs = plan(sources, names, options.members)
    check_encoders(runs, sources)

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
