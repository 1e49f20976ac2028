"""Every contender on the same splits: what a user would pick instead, and what this project has.

    python benchmarks/accuracy.py --data papers.csv.gz --pretrained pretraining/model \
        --minilm minilm.npz --dump arxiv-metadata-oai-snapshot.json.gz

--data: papers with labels. --pretrained: an encoder that has not read them (pretraining/README.md,
`leave_out`); with a second one, pre-trained otherwise, the voters of the ensemble are less alike.
--minilm: made by benchmarks/minilm.py; without it that contender is left out. --dump: more
labelled papers, for the protocol `more labels`; without it that protocol is left out. Relative
paths start at the repository's root.

What each training reached goes into benchmarks/results/accuracy.csv at once, its probabilities
beside it: a finished one is not run again. Choices are made on validation papers; of
the test papers only what stands in the table is computed. In lines of three classes the recall is
that of cs.AI and cs.LG together; seconds of MiniLM include encoding, those of v5 not its
pre-training, which is done once. With `more labels` every contender's probabilities are moved from
the class shares of all training papers to those of --data's (Saerens et al. 2002).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from filelock import FileLock
from scipy import stats

from arxiv_hybrid.data.identifiers import canonical, text_key
from arxiv_hybrid.data.labels import CLASSES, label_papers, listed_classes
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.evaluation.ensemble import calibrated, fit_vote_temperature, fitted_weights, vote
from arxiv_hybrid.evaluation.linear import fit_linear
from arxiv_hybrid.evaluation.metrics import scores
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system.downloads import sha256_of
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic, user_file
from arxiv_hybrid.system.nested import deep_merge
from arxiv_hybrid.vectors.pretrained import Pretrained, load_pretrained

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TABLE = RESULTS / "accuracy.csv"
PROBABILITIES = RESULTS / "probabilities"
SEEDS = (42, 43, 44, 45, 46)
SHARED = 0.15 / 0.70  # size of a test set by that of a training set
STRENGTHS = (1.0, 5.0, 20.0)  # C of MiniLM's logistic regression; validation accuracy chooses
ALL = 10**9
# parameters that change no probability here: splits and files are told apart by other means
IDLE = {"tracking", "evaluate", "ensemble"}
IDLE |= {"device", "precision", "processes", "fetch", "split", "pretrained"}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """How papers are labelled and split, which splits are measured, and the bars to pass."""

    name: str
    scheme: str = "primary"
    classes: int = 4
    by: str = "paper"
    seeds: tuple[int, ...] = SEEDS
    more: bool = False  # trained on the labels of the dump, too
    changes: tuple[tuple[str, Any], ...] = ()  # of v5's recipe


PROTOCOLS = (
    Protocol("clean"),
    Protocol("published", scheme="query", classes=3, by="row", seeds=(42,)),
    Protocol("time", by="time", seeds=(42,)),
    Protocol("more labels", seeds=(42,), more=True, changes=(("epochs", 2),)),
)


@dataclass(frozen=True)
class Member:
    """A network that votes; the first is the single model of the table."""

    model: str
    seed: int
    encoder: int  # which of --pretrained it starts from; of those given, counted in turns

    @property
    def name(self) -> str:
        return f"{self.model}-{self.seed}"


MEMBERS = (Member("v5", 42, 0), Member("v5", 123, 1))


@dataclass(frozen=True)
class Sources:
    """The files that the contenders read."""

    data: Path
    pretrained: tuple[Path, ...]
    minilm: Path | None
    dump: Path | None

    @cached_property
    def papers(self) -> pd.DataFrame:
        return read_csv(self.data, option="--data")

    def folder(self, member: Member) -> Path:
        """The encoder that a member starts from."""
        return self.pretrained[member.encoder % len(self.pretrained)]

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """The dump's papers of the four categories, one row each."""
        assert self.dump is not None
        found = read_snapshot(
            self.dump, per_category=ALL, sample="newest", seed=0, window=Window()
        ).table()
        return label_papers(found, scheme="primary", classes=4)

    def digest(self, contender: str, *, more: bool) -> str:
        """A digest of the files that a contender reads."""
        files = [self.data, *([self.dump] if more else [])]
        if contender == "minilm":
            files.append(self.minilm)
        elif member := member_named(contender):
            files += sorted(self.folder(member).iterdir())
        parts = (_sha256(file) for file in files if file is not None)
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def embeddings(self) -> tuple[dict[str, int], npt.NDArray[np.float32], float]:
        """MiniLM's vectors: row by id, the rows, and seconds a paper."""
        assert self.minilm is not None
        try:
            with np.load(self.minilm) as stored:
                rows = {canonical(str(name)): row for row, name in enumerate(stored["id"])}
                found = rows, stored["vectors"], float(stored["seconds"]) / len(rows)
        except (ValueError, KeyError, OSError) as error:
            raise UserError(f"{self.minilm}: not of benchmarks/minilm.py: {error}") from None
        if missing := set(self.papers["id"]) - set(rows):
            raise UserError(f"{self.minilm}: has no vector of {min(missing)}; encode this --data")
        return found


@cache
def _sha256(file: Path) -> str:
    return sha256_of(file)


@cache
def encoder(folder: Path) -> Pretrained:
    return load_pretrained(folder)


def member_named(contender: str) -> Member | None:
    """The network of this name; None for the linear model and MiniLM."""
    return next((member for member in MEMBERS if member.name == contender), None)


@dataclass(frozen=True)
class Run:
    """One contender on one split; `inputs` is a digest of the files that it reads."""

    protocol: Protocol
    seed: int
    contender: str  # linear, minilm, or a member's name
    inputs: str

    @property
    def name(self) -> str:
        """Readable, and another one for other files or parameters."""
        recipe = None
        if member := member_named(self.contender):
            recipe = params_of(self, member).model_dump(mode="json", exclude=IDLE)
        told = json.dumps([str(self.protocol), self.seed, self.inputs, recipe], sort_keys=True)
        digest = hashlib.sha256(told.encode()).hexdigest()[:8]
        return f"{self.contender}-{self.protocol.name.replace(' ', '-')}-{self.seed}-{digest}"


def params_of(run: Run, member: Member) -> Params:
    """The shipped parameters, with what the protocol and the member change."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    changes = {
        "model": member.model,
        "seed": member.seed,
        "labels": {"scheme": run.protocol.scheme, "classes": run.protocol.classes},
        **dict(run.protocol.changes),
    }
    return parse(deep_merge(shipped, changes), "params.yaml")


def splits_of(sources: Sources, protocol: Protocol, seed: int) -> dict[str, pd.DataFrame]:
    """Train, validation and test papers with labels."""
    documents = label_papers(sources.papers, scheme=protocol.scheme, classes=protocol.classes)
    parts = split_documents(
        documents, by=protocol.by, val=0.15, test=0.15, seed=seed, classes=protocol.classes
    )
    if protocol.more:
        papers = sources.papers
        keys = set(texts_of(papers.drop_duplicates("id")).map(text_key))
        labelled = sources.labelled
        known = labelled["id"].isin(set(papers["id"])) | texts_of(labelled).map(text_key).isin(keys)
        parts["train"] = pd.concat([parts["train"], labelled[~known]], ignore_index=True)
    return parts


@dataclass
class Outcome:
    """Probabilities of validation and test papers, and what they cost."""

    val: Floats
    test: Floats
    train_seconds: float
    documents_per_second: float
    megabytes: float


def run_linear(parts: dict[str, pd.DataFrame], protocol: Protocol) -> Outcome:
    started = time.perf_counter()
    found = fit_linear(parts["train"], parts["val"], parts["test"], classes=protocol.classes)
    seconds = time.perf_counter() - started
    size = found.features * protocol.classes * 8 / 1e6
    return Outcome(found.val, found.test, seconds, float("nan"), size)


def run_minilm(parts: dict[str, pd.DataFrame], sources: Sources) -> Outcome:
    from sklearn.linear_model import LogisticRegression

    rows, vectors, each = sources.embeddings
    started = time.perf_counter()
    x = {name: vectors[[rows[i] for i in part["id"]]] for name, part in parts.items()}
    y = {name: part["label"].to_numpy() for name, part in parts.items()}
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x["train"], y["train"]) for c in STRENGTHS]
    model = max(fits, key=lambda fit: float(fit.score(x["val"], y["val"])))
    fitted = time.perf_counter() - started
    papers = sum(part["id"].nunique() for part in parts.values())
    predicted = {name: np.asarray(model.predict_proba(x[name])) for name in ("val", "test")}
    return Outcome(**predicted, train_seconds=fitted + papers * each,
                   documents_per_second=1 / each, megabytes=91.0)  # fmt: skip


def run_network(
    run: Run, member: Member, parts: dict[str, pd.DataFrame], sources: Sources
) -> Outcome:
    from arxiv_hybrid.training.loop import say

    from arxiv_hybrid.training.classifier import train_classifier

    start = encoder(sources.folder(member))
    start.check_held_out({*parts["val"]["id"], *parts["test"]["id"]})
    started = time.perf_counter()
    classifier, _ = train_classifier(
        params_of(run, member),
        parts["train"],
        parts["val"],
        start.vocabulary,
        start.embeddings,
        pretrained=start,
        on_epoch=say,
    )
    seconds = time.perf_counter() - started
    val = classifier.probabilities(parts["val"]).numpy()
    started = time.perf_counter()
    test = classifier.probabilities(parts["test"]).numpy()
    speed = len(parts["test"]) / (time.perf_counter() - started)
    size = sum(p.numel() * p.element_size() for p in classifier.model.parameters()) / 1e6
    return Outcome(val, test, seconds, speed, size)


def to_own_shares(
    outcome: Outcome, parts: dict[str, pd.DataFrame], own: set[str], classes: int
) -> Outcome:
    """Probabilities of a model trained on all papers, as if classes were as common as in --data.

    own: ids of --data's papers. A temperature is fitted on validation papers once more.
    """
    shares = [
        np.bincount(part["label"], minlength=classes) / len(part)
        for part in (parts["train"], parts["train"][parts["train"]["id"].isin(own)])
    ]
    moved = [p * (shares[1] / shares[0]) for p in (outcome.val, outcome.test)]
    val, test = (p / p.sum(1, keepdims=True) for p in moved)
    temperature = fit_vote_temperature(parts["val"]["label"].to_numpy(), val)
    return replace(outcome, val=calibrated(val, temperature), test=calibrated(test, temperature))


def plan(sources: Sources, names: list[str], members: int) -> list[Run]:
    """All runs, the cheap contenders of every split first, then each member in turn."""
    chosen = [p for p in PROTOCOLS if p.name in names and (sources.dump or not p.more)]
    contenders = ["linear", *(["minilm"] if sources.minilm else [])]
    runs = []
    for contender in (*contenders, *(member.name for member in MEMBERS[:members])):
        runs += [
            Run(protocol, seed, contender, sources.digest(contender, more=protocol.more))
            for protocol in chosen
            for seed in protocol.seeds
            if not (protocol.more and contender == "minilm")  # the dump is not encoded
        ]
    return runs


def execute(run: Run, sources: Sources) -> None:
    """Train one contender and keep what it says of validation and test papers."""
    parts = splits_of(sources, run.protocol, run.seed)
    if member := member_named(run.contender):
        outcome = run_network(run, member, parts, sources)
    elif run.contender == "minilm":
        outcome = run_minilm(parts, sources)
    else:
        outcome = run_linear(parts, run.protocol)
    if run.protocol.more:
        outcome = to_own_shares(outcome, parts, set(sources.papers["id"]), run.protocol.classes)
    PROBABILITIES.mkdir(parents=True, exist_ok=True)
    with atomic(PROBABILITIES / f"{run.name}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, val=outcome.val, test=outcome.test)
    measured = judge(parts["test"], outcome.test, run.protocol.classes)
    row = {
        "run": run.name,
        "protocol": run.protocol.name,
        "split_seed": run.seed,
        "contender": run.contender,
        "val_accuracy": float((outcome.val.argmax(1) == parts["val"]["label"]).mean()),
        **measured,
        "train_seconds": outcome.train_seconds,
        "documents_per_second": outcome.documents_per_second,
        "megabytes": outcome.megabytes,
    }
    with FileLock(TABLE.with_suffix(".lock")), atomic(TABLE) as temporary:
        before = pd.read_csv(TABLE) if TABLE.is_file() else None
        table = pd.concat([before, pd.DataFrame([row])], ignore_index=True)
        table.to_csv(temporary, index=False, float_format="%.6f")


def judge(test: pd.DataFrame, probabilities: Floats, classes: int) -> dict[str, float]:
    """Accuracy and its companions on test papers."""
    listed = listed_classes(test["all_categories"], classes)
    found = scores(test["label"].to_numpy(), probabilities, list(CLASSES[classes]), listed=listed)
    first = CLASSES[classes][0]  # cs.AI, or cs.AI with cs.LG
    return {
        "accuracy": found["accuracy"],
        "macro_f1": found["macro_f1"],
        "any_listed": found["accuracy_any_listed"],
        "calibration_error": found["calibration_error"],
        "recall_ai": found["per_class"][first]["recall"],
    }


def ensembles(runs: list[Run], sources: Sources) -> Iterator[dict[str, Any]]:
    """All networks and the linear model voting, weights fitted on validation papers."""
    for protocol, seed in dict.fromkeys((run.protocol, run.seed) for run in runs):
        voters = [
            run
            for run in runs
            if (run.protocol, run.seed) == (protocol, seed) and run.contender != "minilm"
        ]
        files = [PROBABILITIES / f"{run.name}.npz" for run in voters]
        if len(voters) < 3 or not all(file.is_file() for file in files):
            continue
        parts = splits_of(sources, protocol, seed)
        members: dict[str, dict[str, Floats]] = {"val": {}, "test": {}}
        for run, file in zip(voters, files, strict=True):
            with np.load(file) as stored:
                for name, of in members.items():
                    of[run.contender] = stored[name]
        labels = parts["val"]["label"].to_numpy()
        weights = fitted_weights(labels, members["val"])
        temperature = fit_vote_temperature(labels, vote(members["val"], weights))
        votes = calibrated(vote(members["test"], weights), temperature)
        yield {
            "protocol": protocol.name,
            "split_seed": seed,
            "contender": "ensemble",
            **judge(parts["test"], votes, protocol.classes),
            "probabilities": votes,
        }


def merged(probabilities: Floats) -> Floats:
    """Four classes as three: cs.AI and cs.LG are one, and stand first."""
    ai, cl, cv, lg = probabilities.T
    return np.stack([ai + lg, cl, cv], axis=1)


def three_classes(runs: list[Run], votes: list[dict[str, Any]], sources: Sources) -> pd.DataFrame:
    """The clean protocol with cs.AI and cs.LG as one class, from the four classes' models."""
    clean = [run for run in runs if run.protocol.name == "clean"]
    rows = []
    for seed in dict.fromkeys(run.seed for run in clean):
        test = splits_of(sources, PROTOCOLS[0], seed)["test"]
        test = test.assign(label=test["label"].map({0: 0, 1: 1, 2: 2, 3: 0}))
        found = {v["contender"]: v["probabilities"] for v in votes
                 if (v["protocol"], v["split_seed"]) == ("clean", seed)}  # fmt: skip
        for run in clean:
            file = PROBABILITIES / f"{run.name}.npz"
            if run.seed == seed and file.is_file():
                with np.load(file) as stored:
                    found[run.contender] = stored["test"]
        rows += [
            {"protocol": "clean, 3 classes", "split_seed": seed, "contender": name,
             **judge(test, merged(p), 3)}
            for name, p in found.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


SHOWN = {"linear": "TF-IDF + linear", "minilm": "MiniLM + logistic regression",
         MEMBERS[0].name: "v5, pre-trained", "ensemble": "ensemble"}  # fmt: skip


def report(results: pd.DataFrame) -> str:
    """Markdown: a line a protocol and contender, means over splits, gains over the others."""
    lines = [
        "| protocol | contender | accuracy | over linear | over MiniLM | macro-F1 | any listed "
        "| calibration error | recall of cs.AI | train s | documents/s | MB |",
        "|---" * 12 + "|",
    ]
    for protocol in dict.fromkeys(results["protocol"]):
        of = results[results["protocol"] == protocol].set_index(["contender", "split_seed"])
        for contender, shown in SHOWN.items():
            if contender not in of.index.get_level_values(0):
                continue
            mine = of.loc[contender]
            gains = [
                against(mine["accuracy"], of.loc[other]["accuracy"])
                if other != contender and other in of.index.get_level_values(0)
                else ""
                for other in ("linear", "minilm")
            ]
            means = [percent(mine[c]) for c in ("macro_f1", "any_listed")]
            cells = [percent(mine["accuracy"]), *gains, *means]
            cells += [f"{mine['calibration_error'].mean():.3f}", percent(mine["recall_ai"])]
            cells += [
                "" if mine[c].isna().all() else f"{mine[c].mean():,.0f}"
                for c in ("train_seconds", "documents_per_second", "megabytes")
            ]
            lines.append("| " + " | ".join([protocol, shown, *cells]) + " |")
    return "\n".join(lines)


def percent(values: pd.Series) -> str:
    """Mean, and the deviation over splits where there are several."""
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def against(mine: pd.Series, other: pd.Series) -> str:
    """Mean difference on the same splits, with its 95 % interval where there are several.

    The splits share papers, so the variance is corrected for that (Nadeau and Bengio 2003).
    """
    gains = 100 * (mine - other).dropna()
    if len(gains) < 2:
        return f"{gains.mean():+.1f}"
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std() * np.sqrt(1 / len(gains) + SHARED)
    return f"{gains.mean():+.1f} ({gains.mean() - half:+.1f} to {gains.mean() + half:+.1f})"


def main(given: list[str] | None = None) -> int:
    """Run what is missing, print the table and write it to benchmarks/results/accuracy.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a CSV of papers with labels")
    parser.add_argument(
        "--pretrained", nargs="+", required=True, help="a folder of pretraining/, or several"
    )
    parser.add_argument("--minilm", help="an .npz of benchmarks/minilm.py")
    parser.add_argument("--dump", help="a metadata dump, for the protocol `more labels`")
    count = len(MEMBERS)
    parser.add_argument(
        "--members", type=int, choices=range(1, count + 1), default=count, help=f"voters ({count})"
    )
    parser.add_argument("--protocols", default="", help="some of them, separated by commas")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    chosen = parser.parse_args(given)
    try:
        sources = Sources(
            data=existing(chosen.data, "data"),
            pretrained=tuple(existing(folder, "pretrained") for folder in chosen.pretrained),
            minilm=existing(chosen.minilm, "minilm") if chosen.minilm else None,
            dump=existing(chosen.dump, "dump") if chosen.dump else None,
        )
        names = [part.strip() for part in chosen.protocols.split(",") if part.strip()]
        known = [protocol.name for protocol in PROTOCOLS]
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"--protocols: no {unknown[0]!r}; choose from {', '.join(known)}")
        if "more labels" in names and sources.dump is None:
            raise UserError("--protocols: `more labels` needs --dump")
        if sources.minilm is not None:
            _ = sources.embeddings  # a wrong file fails before any training
        return measure(sources, names or known, chosen.members, dry_run=chosen.dry_run)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the next run", file=sys.stderr)
        return 130


def existing(given: str, option: str) -> Path:
    """The path that an option names; UserError where there is nothing."""
    path = user_file(ROOT, given)
    if not path.exists():
        raise UserError(f"{path}: no such file (--{option})")
    return path


def measure(sources: Sources, names: list[str], members: int, *, dry_run: bool) -> int:
    """What `main` does once the options are read."""
    runs = plan(sources, names, members)
    done = set(pd.read_csv(TABLE)["run"]) if TABLE.is_file() else set()
    waiting = [run for run in runs if run.name not in done]
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished before", flush=True)
    if dry_run:
        print("\n".join(run.name for run in waiting))
        return 0
    for number, run in enumerate(waiting, 1):
        print(f"[{number}/{len(waiting)}] {run.name}", flush=True)
        execute(run, sources)
    table = pd.read_csv(TABLE)
    votes = list(ensembles(runs, sources))
    found = [
        table[table["run"].isin({run.name for run in runs})],
        pd.DataFrame(votes).drop(columns="probabilities", errors="ignore"),
        three_classes(runs, votes, sources),
    ]
    text = report(pd.concat([part for part in found if len(part)], ignore_index=True))
    print(text)
    if set(names) == {protocol.name for protocol in PROTOCOLS}:
        with atomic(RESULTS / "accuracy.md") as path:
            path.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
