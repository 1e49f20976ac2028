"""`update`: what is new on arXiv since the last run, classified and checked; made for cron."""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.audit.monitoring import (
    FEWEST,
    NAMES,
    WINDOWS,
    Check,
    Reference,
    check_windows,
    classes_of,
)
from arxiv_hybrid.commands.library import counted
from arxiv_hybrid.commands.models import choose_model, registered_name, shipped
from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.daily import challenge
from arxiv_hybrid.daily.predictions import (
    ClassesOf,
    Classified,
    Learned,
    classify_days,
    missing,
    recent,
)
from arxiv_hybrid.daily.store import Added, DailyStore, State
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.paths import (
    MODEL,
    PARAMS,
    REFERENCE,
    download_cache,
    repository_root,
    shipped_model,
)
from arxiv_hybrid.serving.server import ServedModel
from arxiv_hybrid.sources.arxiv_api import API_URL
from arxiv_hybrid.sources.arxiv_pagination import FetchSpec
from arxiv_hybrid.sources.arxiv_source import FetchedPapers, fetch
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, write_csv
from arxiv_hybrid.system.shipped import is_shipped
from arxiv_hybrid.taxonomy.categories import categories
from arxiv_hybrid.tracking import find_reference, find_version, settle

# arXiv announces papers one to four days after their submission, around its holidays up to a week
OVERLAP = timedelta(days=7)
ALARM = 1  # the exit code of a run that is complete but raised an alarm
_REFERENCE = "reference.json"  # beside a model, as that of the shipped one


def today() -> date:
    """The day in UTC, as arXiv counts submissions."""
    return datetime.now(UTC).date()


def run(options: Namespace) -> None:
    """Bring the store up to date; exit code 1 if an alarm was raised.

    Raises UserError if arXiv or the model store does not answer: the next run continues.
    """
    params, store = load(PARAMS), DailyStore(options.store)
    wanted = _wanted(params)
    with store.locked(), tempfile.TemporaryDirectory(prefix="arxiv-hybrid-") as temporary:
        day = today()
        before = store.state
        model = _Model.chosen(options.model, Path(temporary))  # before any work
        since = options.since or min(day, before.fetched or day) - OVERLAP
        fetched = _fetch(wanted, params, since, day)
        added = store.add(fetched.papers.values(), day)
        fetched.delete_checkpoint()
        _print_added(store, added, fetched)
        done = _classify(store, model, before, day, _named(wanted))
        store.remember(State(max(day, before.fetched or day), day, _named(wanted)))
        _print_classified(done, model)
        papers = recent(store.predictions, day, sum(WINDOWS), model.digest)
        windows = {n: papers[papers["age"] < n] for n in WINDOWS}
        earlier = papers[papers["age"] >= min(WINDOWS)]
        checks = check_windows(model.reference, windows, earlier) if model.reference else []
        _print_checks(model, checks, windows)
        _remember(store, day, model.digest, added, checks, windows)
        alarms = [each for each in checks if each.alarm]
        for each in alarms:
            note(f"alarm: {each.line()}")
        if options.retrain:
            _retrain(store, params, day, Path(temporary))
    if alarms:
        sys.exit(ALARM)


def _wanted(params: Params) -> tuple[str, ...] | None:
    if params.labels.from_ == "column" and params.fetch.categories == "auto":
        raise UserError(
            "params.yaml: labels.from=column does not say which papers of arXiv to fetch: set "
            "fetch.categories, for example [cs.CL, cs.SD]"
        )
    return params.wanted_categories


def _named(wanted: tuple[str, ...] | None) -> str:
    return "all" if wanted is None else " ".join(wanted)


def _fetch(
    wanted: tuple[str, ...] | None, params: Params, since: date, until: date
) -> FetchedPapers:
    return fetch(
        FetchSpec(wanted, None, since=since, until=until),
        download_cache(),
        url=os.environ.get("ARXIV_API_URL") or API_URL,
        allow_fewer=params.fetch.allow_fewer,
        contact=params.fetch.contact,
    )


@dataclass
class _Model:
    """The model that classifies, and the record of its test, if there is one."""

    folder: Path
    name: str
    classifier: TextClassifier
    digest: str
    reference: Reference | None

    @classmethod
    def chosen(cls, wanted: Path | None, temporary: Path) -> _Model:
        """The model of --model, as for `serve`; by default, none trained on generated papers."""
        served = choose_model(wanted, temporary / "champion")
        classifier = checkpoint.load(served.folder)
        if wanted is None and served.folder == MODEL and is_shipped():
            origin = classifier.origin
            if origin and origin.synthetic:
                served = shipped()
                classifier = checkpoint.load(served.folder)
        digest = checkpoint.digest(served.folder)
        reference = _reference(served, digest, temporary / "reference")
        return cls(served.folder, served.name, classifier, digest, reference)

    @property
    def origin(self) -> Any:
        """Where the model comes from."""
        return self.classifier.origin

    @property
    def classes_of(self) -> ClassesOf | None:
        """The classes of a paper by its categories; None if they are not made of categories."""
        several = self.classifier.config.multi_label
        if self.reference and self.reference.categories:
            return partial(self.reference.classes_of, several=several)
        names = self.classifier.config.classes
        if self.reference is None and {*names} <= {*categories()}:
            return partial(classes_of, categories={n: (n,) for n in names}, several=several)
        return None


def _reference(served: ServedModel, digest: str, into: Path) -> Reference | None:
    """The record of a model's test: beside it, of this workspace's last run, or from MLflow."""
    for path in (served.folder / _REFERENCE, REFERENCE):
        if path.is_file():
            found = Reference.from_json(read_json(path), str(path))
            if found.model == digest:
                return found
    if served.folder == shipped_model():
        return None
    into.mkdir()
    path_of_run = find_reference(repository_root(), digest, into)
    if path_of_run is None:
        return None
    return Reference.from_json(read_json(path_of_run), "MLflow")


def _classify(
    store: DailyStore, model: _Model, before: State, day: date, wanted: str
) -> Classified:
    """Predictions for all papers that have none, those of a run that was killed included."""
    kept = day - timedelta(days=max(WINDOWS))
    since = min(before.classified, kept) if before.classified else None
    papers = missing(store.predictions, store.arrived(since))
    if not papers:
        return Classified()
    learned = Learned.read(model.folder, model.origin)
    if before.fetched and before.wanted == wanted:
        learned = replace(learned, looked=before.fetched, since=before.fetched - OVERLAP)
    return classify_days(
        model.classifier, model.digest, papers, store.predictions, model.classes_of, learned
    )


def _print_added(store: DailyStore, added: Added, fetched: FetchedPapers) -> None:
    print(
        f"{store.papers}: {counted(added.new, 'new paper')}, {added.changed:,} changed, "
        f"{added.papers:,} in all ({counted(fetched.requests, 'request')})"
    )
    left_out = {
        "without text": fetched.unreadable,
        "without a category": fetched.uncategorized,
        "counted by arXiv but not sent": fetched.missing,
    }
    if parts := [f"{number:,} {what}" for what, number in left_out.items() if number]:
        note(f"left out: {', '.join(parts)}")


def _print_classified(done: Classified, model: _Model) -> None:
    for path in done.files:
        print(f"{path}: written")
    print(f"model: {model.name}, {model.classifier}")
    parts = [f"{done.learned:,} that the model may have learned from"] if done.learned else []
    parts += [f"{done.outside:,} unlike those of its test"] if done.outside else []
    if parts:
        print(f"not counted below, of {counted(done.papers, 'paper')}: {' and '.join(parts)}")


def _print_checks(model: _Model, checks: list[Check], windows: Mapping[int, pd.DataFrame]) -> None:
    if model.reference is None:
        print(
            "no alarms: nothing records how this model did on its test; stage evaluate records "
            "that of models/main and of each model that it registers"
        )
        return
    measures = [name for name in NAMES if any(each.measure == name for each in checks)]
    rows = [["", "its test", *(f"{days} days" for days in windows), "alarm"]]
    rows.append(["papers", f"{model.reference.papers:,}",
                 *(f"{len(papers):,}" for papers in windows.values()), ""])  # fmt: skip
    for name in measures:
        found = {each.days: each for each in checks if each.measure == name}
        one = found[max(found)]
        test = "" if name == "class_mix" else one.shown(one.test)
        values = [found[n].shown(found[n].value) if n in found else "-" for n in windows]
        rows.append([NAMES[name], test, *values, one.bounds])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells, row[-1]]).rstrip())
    if not checks:
        print(f"no checks yet: they need {FEWEST} papers in {max(windows)} days")


def _remember(
    store: DailyStore,
    day: date,
    digest: str,
    added: Added,
    checks: list[Check],
    windows: Mapping[int, pd.DataFrame],
) -> None:
    """Add a row about this run to history.csv."""
    row: dict[str, Any] = {"day": day.isoformat(), "model": digest, **added._asdict()}
    for days, papers in windows.items():
        row[f"counted_{days}"] = len(papers)
        found = {each.measure: each for each in checks if each.days == days}
        row |= {f"{name}_{days}": found[name].value if name in found else None for name in NAMES}
    alarms = [f"{each.measure}_{each.days}" for each in checks if each.alarm]
    row["alarms"] = ";".join(alarms)
    table = pd.DataFrame([row])
    if store.history.is_file():
        try:
            table = pd.concat([pd.read_csv(store.history, dtype=str), table.astype(object)])
        except ValueError:
            raise UserError(f"{store.history}: not a table; move it away") from None
    write_csv(store.history, table)


def _retrain(store: DailyStore, params: Params, day: date, temporary: Path) -> None:
    """Train on the store; the model becomes the champion if it beats it on the same papers."""
    root, name = repository_root(), registered_name()
    if not (root / ".dvc").is_dir():
        raise UserError("--retrain: not a DVC repository; run it in that of the pipeline")
    old = find_version(root, name, None, temporary / "old")
    experiment, digest = challenge.train(root, store.papers, day.isoformat(), name)
    new = find_version(root, name, digest, temporary / "new")
    if new is None:
        raise UserError(f"--retrain: {experiment} was trained but not registered, see above")
    tag = {challenge.SPLIT: f"hash {params.split.test}"}
    title = f"{name} version {new.version} ({experiment})"
    if old is None or new.is_champion:
        settle(root, name, new.version, champion=False, tags=tag)
        print(f"{title}: {'the champion' if new.is_champion else 'not the champion'}")
        return
    champion = checkpoint.load(old.folder)
    learned = None
    if old.tags.get(challenge.SPLIT) != tag[challenge.SPLIT]:
        learned = Learned.read(old.folder, champion.origin)
    reference = _reference(ServedModel(new.folder, title), digest, temporary / "of_new")
    if reference is None:
        raise UserError(f"--retrain: {experiment} has no record of its test; the champion stays")
    share = params.split.shares[1] if params.split.shares else 0.0
    result = challenge.duel(
        checkpoint.load(new.folder),
        champion,
        store.arrived(None),
        reference.categories,
        share,
        learned,
    )
    settle(root, name, new.version, champion=result.won, tags=tag)
    verdict = "is the new champion" if result.won else f"version {old.version} stays champion"
    print(
        f"{title}: {result.challenger:.2%} on {counted(result.papers, 'test paper')}, champion "
        f"version {old.version} {result.champion:.2%} on the same (p = {result.p:.2g}): {verdict}"
    )
