"""`data labels`: all papers, the most doubtful label first, with out-of-fold probabilities."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from arxiv_hybrid.audit.duplicates import groups_of_copies
from arxiv_hybrid.commands.inspect_data import read_papers
from arxiv_hybrid.commands.library import counted
from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.data.identifiers import is_arxiv_id
from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.evaluation.label_issues import QUALITY, estimated_noise, review_table
from arxiv_hybrid.evaluation.out_of_fold import (
    FOLDS,
    Encoder,
    OutOfFold,
    check_size,
    deal,
    out_of_fold,
)
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Labels, load
from arxiv_hybrid.paths import (
    LABELS,
    PARAMS,
    SPLIT_NAMES,
    SPLITS,
    repository_root,
    shipped_model,
)
from arxiv_hybrid.system.cells import spreadsheet_safe
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_parquet, user_file, write_csv
from arxiv_hybrid.system.shipped import is_shipped

SHOWN = 5
FEWEST = 2  # papers of a class, so that there is one to learn from when the other is held out
WIDTH = 60  # of a title


def run(options: Namespace) -> None:
    """Write the table and print its first rows."""
    if options.file is None:
        if options.label or options.separator or options.columns:
            raise UserError("--label, --separator and --columns need a FILE of papers")
        papers, label_set = _of_the_last_run()
        started_from = load(PARAMS).pretrained
        folder = user_file(repository_root(), started_from) if started_from else None
    else:
        papers, label_set = _of_a_file(options)
        folder = shipped_model() if is_shipped() else None
    check_size(len(papers), len(label_set))
    groups = groups_of_copies(papers)
    folds = deal(papers, groups, label_set, seed=0)
    encoder = _encoder(folder)
    result = out_of_fold(papers, label_set, folds, encoder)
    # names are made harmless one by one: cells that join several must have those of the columns
    safe = spreadsheet_safe(pd.DataFrame(columns=list(label_set.names))).columns
    table = review_table(papers, replace(label_set, names=tuple(safe)), result.predictions)
    write_csv(options.output, spreadsheet_safe(table))
    copies = len(groups) - len(np.unique(groups))
    _print_summary(papers, label_set, result, encoder, copies)
    print(f"{options.output}: the most doubtful labels first; at the top")
    _print_first(table.head(SHOWN))


def _of_the_last_run() -> tuple[pd.DataFrame, LabelSet]:
    if not LABELS.is_file():
        raise UserError(f"{LABELS}: not found; run `dvc repro split`, or name a FILE of papers")
    label_set = LabelSet.read(LABELS)
    parts = [read_parquet(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES]
    return pd.concat(parts, ignore_index=True), label_set


def _of_a_file(options: Namespace) -> tuple[pd.DataFrame, LabelSet]:
    """The papers with their primary categories, or the labels in a column of the file."""
    if options.separator and not options.label:
        raise UserError("--separator needs --label, the column of the labels")
    papers = read_papers(options.file, options.columns, options.label)
    settings = {"from": "primary", "classes": "all"}
    if options.label:
        settings = {"from": "column", "classes": "auto", "column": options.label}
        settings |= {"separator": options.separator, "too_few": "leave_out"}
    labelled = label_papers(papers, Labels.model_validate(settings), minimum=FEWEST)
    if labelled.left_out:
        note(f"left out: {labelled.left_out}")
    for remark in labelled.remarks:
        note(remark)
    return labelled.documents, labelled.label_set


def _encoder(folder: Path | None) -> Encoder | None:
    """The encoder in a folder; None if it has learned no categories, as it cannot be loaded."""
    if folder is None or not (pretrained := load_pretrained(folder)).classes:
        return None
    return Encoder(checkpoint.load_network(folder), pretrained.papers)


def _print_summary(
    papers: pd.DataFrame,
    label_set: LabelSet,
    result: OutOfFold,
    encoder: Encoder | None,
    copies: int,
) -> None:
    p, encoded = result.predictions.probabilities, int(result.encoded.sum())
    rows = f"{counted(len(papers), 'paper')}, {len(label_set)} classes, {FOLDS} folds"
    print(f"{rows}; each in the fold of its copies: {copies:,}" if copies else rows)
    members = "TF-IDF + linear"
    if encoded:
        members += " and the encoder's vectors, a vote"
        if read := len(papers) - encoded:
            members += f"; for {read:,} papers that the encoder has read, TF-IDF + linear alone"
        if not any(map(is_arxiv_id, papers["id"])):
            members += "; without ids of arXiv, none can be recognized as read before"
    elif encoder:
        members += " alone, as the encoder has read nearly all of these papers"
    print(f"probabilities: {members}")
    if label_set.multi_label:
        classes = multi_hot(papers["labels"], len(label_set))
        wrong = sum(
            estimated_noise(right.astype(np.int64), np.stack([1 - shares, shares], axis=1))
            for right, shares in zip(classes.T, p.T, strict=True)
        )
        print(f"estimated: {wrong:.2f} labels per paper are missing or wrong", end="")
    else:
        share = estimated_noise(papers["label"].to_numpy(), p)
        print(f"estimated: {share:.1%} of the labels are wrong", end="")
    print(" (confident learning, from these probabilities; classes that overlap count, too)")


def _print_first(table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        title = str(row["title"])
        title = title if len(title) <= WIDTH else f"{title[: WIDTH - 3]}..."
        print(f"  {row[QUALITY]:.3f}  {row['id']}  {row['label']} -> {row['suggested']}  {title}")
