"""How much the labels allow: four estimates from what benchmarks/accuracy.py left behind.

    python benchmarks/noise.py --data papers.csv.gz --pretrained pretraining/model \
        --minilm minilm.npz

It reads the single model's probabilities of the clean protocol, over all splits that are finished:
each paper's mean over the splits in which it was held out. It trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

import accuracy

from arxiv_hybrid.data.labels import CLASSES, label_papers, listed_classes
from arxiv_hybrid.system.errors import UserError

NEAR = 0.85  # cosine of MiniLM's vectors from which two papers count as near-duplicates
ROWS = 1024  # rows of the similarity matrix at a time
Floats = npt.NDArray[np.float64]


def held_out(sources: accuracy.Sources) -> tuple[pd.DataFrame, Floats]:
    """Papers that were outside training in some split, and their mean probabilities (N, C)."""
    protocol, member = accuracy.PROTOCOLS[0], accuracy.MEMBERS[0].name
    papers, parts = [], []
    for run in accuracy.plan(sources, [protocol.name], 1):
        path = accuracy.PROBABILITIES / f"{run.name}.npz"
        if run.contender != member or not path.is_file():
            continue
        split = accuracy.splits_of(sources, protocol, run.seed)
        with np.load(path) as stored:
            parts += [stored["val"], stored["test"]]
        papers += [split["val"], split["test"]]
    if not papers:
        raise UserError("no finished run of v5 on `clean`; first run benchmarks/accuracy.py")
    table = pd.concat(papers, ignore_index=True)
    classes = list(CLASSES[protocol.classes])
    means = pd.DataFrame(np.concatenate(parts), columns=classes).groupby(table["id"]).mean()
    table = table.drop_duplicates("id").set_index("id", drop=False).loc[means.index]
    return table, means.to_numpy()


def confident_noise(labels: npt.NDArray[np.int64], p: Floats) -> float:
    """Share of labels that confident learning calls wrong (Northcutt et al. 2021).

    A paper counts for the class whose probability is above that class's own mean among the
    papers labelled so; of the classes that qualify, for the most probable.
    """
    classes = range(p.shape[1])
    thresholds = np.array([p[labels == c, c].mean() for c in classes])
    above = np.where(p >= thresholds - 1e-9, p, -1.0)
    counted = above.max(1) >= 0
    joint = np.zeros((p.shape[1], p.shape[1]))
    np.add.at(joint, (labels[counted], above.argmax(1)[counted]), 1)
    joint /= joint.sum(1, keepdims=True)
    shares = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    return float(1 - (shares * np.diag(joint)).sum())


def near_duplicates(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Each paper's nearest other paper, and the cosine between the two."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest, cosines = [], []
    for start in range(0, len(unit), ROWS):
        block = unit[start : start + ROWS] @ unit.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -1.0
        nearest.append(block.argmax(1))
        cosines.append(block.max(1))
    return np.concatenate(nearest), np.concatenate(cosines)


def bayes_accuracy(error: float, classes: int) -> float:
    """The best accuracy that a 1-nearest-neighbour error allows (Cover and Hart 1967)."""
    room = max(0.0, 1 - classes / (classes - 1) * error)
    return float(1 - (classes - 1) / classes * (1 - np.sqrt(room)))


def main(given: list[str] | None = None) -> int:
    """Print the estimates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="the CSV of the finished runs")
    parser.add_argument("--pretrained", required=True, help="the encoder of those runs")
    parser.add_argument("--minilm", required=True, help="an .npz of benchmarks/minilm.py")
    chosen = parser.parse_args(given)
    try:
        data, encoder, minilm = (
            accuracy.existing(getattr(chosen, name), name)
            for name in ("data", "pretrained", "minilm")
        )
        sources = accuracy.Sources(data, (encoder,), minilm, None)
        papers, p = held_out(sources)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    labels = papers["label"].to_numpy()
    right = p.argmax(1) == labels
    listed = listed_classes(papers["all_categories"], p.shape[1])
    count = listed.sum(1)
    top_two = np.sort(p, 1)[:, -2:].sum(1)
    print(f"{len(papers):,} held-out papers, accuracy {right.mean():.1%}")
    print("\n| papers that list | share | accuracy | any listed |\n|---|---|---|---|")
    any_listed = listed[np.arange(len(p)), p.argmax(1)]
    for name, rows in (("one class", count == 1), ("two", count == 2), ("more", count > 2)):
        print(f"| {name} | {rows.mean():.1%} | {right[rows].mean():.1%} "
              f"| {any_listed[rows].mean():.1%} |")  # fmt: skip
    print(f"\nconfident learning: {confident_noise(labels, p):.1%} of the labels are off")
    print(f"mean probability of the two best classes: {top_two.mean():.1%}")

    everyone = label_papers(sources.papers, scheme="primary", classes=p.shape[1])
    rows, vectors, _ = sources.embeddings
    nearest, cosine = near_duplicates(vectors[[rows[name] for name in everyone["id"]]])
    label = everyone["label"].to_numpy()
    differ = label != label[nearest]
    share = float(differ.mean())
    print(f"nearest neighbour's label differs: {share:.1%}; best accuracy if neighbours "
          f"were as close as can be: {bayes_accuracy(share, p.shape[1]):.1%}")  # fmt: skip
    near = cosine >= NEAR
    print(f"of {near.sum():,} papers with a near-duplicate (cosine from {NEAR}): "
          f"{differ[near].mean():.1%} differ")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
