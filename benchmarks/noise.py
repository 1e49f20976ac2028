"""How much the labels allow: four estimates from the stored results of benchmarks/accuracy.py.

    python benchmarks/noise.py --data papers.csv.gz --pretrained pretraining/model \
        --minilm minilm.npz

It reads the single model's probabilities on all finished splits of the clean protocol and averages
them for each paper over the splits in which the paper was held out. It trains nothing.
"""

import accuracy
import numpy as np
import numpy.typing as npt
import pandas as pd
from runner import existing_path, markdown, new_parser
from sklearn.neighbors import NearestNeighbors

from arxiv_hybrid.data.label_set import multi_hot
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.system.errors import UserError, exit_on_user_error

NEAR = 0.85  # two papers with this cosine of MiniLM's vectors count as near-duplicates
Floats = npt.NDArray[np.float64]


def held_out(sources: accuracy.Sources) -> tuple[pd.DataFrame, Floats]:
    """Papers outside training in some split, and their mean probabilities (N, C)."""
    papers, parts = [], []
    for run in accuracy.plan(sources, ["clean"], 1):
        if run.contender == accuracy.SINGLE and (stored := run.probabilities()):
            split, _ = run.splits(sources)
            papers += [split["val"], split["test"]]
            parts += [stored["val"], stored["test"]]
    if not papers:
        raise UserError("no finished run of v6 on `clean`; run benchmarks/accuracy.py first")
    table = pd.concat(papers, ignore_index=True)
    means = pd.DataFrame(np.concatenate(parts)).groupby(table["id"]).mean()
    table = table.drop_duplicates("id").set_index("id", drop=False).loc[means.index]
    return table, means.to_numpy()


def confident_noise(labels: npt.NDArray[np.int64], p: Floats) -> float:
    """Share of labels that confident learning calls wrong (Northcutt et al. 2021).

    A paper counts for a class if its probability is at least the mean probability of that class
    among the papers with that label; of several such classes, for the most probable.
    """
    classes = range(p.shape[1])
    thresholds = np.array([p[labels == c, c].mean() for c in classes])
    confident = np.where(p >= thresholds - 1e-9, p, -1.0)
    counted, guess = confident.max(1) >= 0, confident.argmax(1)
    agreement = [(guess[counted & (labels == c)] == c).mean() for c in classes]
    return float(1 - np.bincount(labels, minlength=p.shape[1]) @ agreement / len(labels))


def near_duplicates(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], Floats]:
    """The row of each paper's nearest other paper (N,), and the cosine between the two (N,)."""
    distances, rows = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectors).kneighbors()
    return rows[:, 0], 1 - distances[:, 0]


def bayes_accuracy(error: float, classes: int) -> float:
    """The best accuracy that a 1-nearest-neighbour error allows (Cover and Hart 1967)."""
    room = max(0.0, 1 - classes / (classes - 1) * error)
    return float(1 - (classes - 1) / classes * (1 - np.sqrt(room)))


@exit_on_user_error("stopped")
def main(arguments: list[str] | None = None) -> None:
    """Print the estimates."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", required=True, help="the CSV of the finished runs")
    parser.add_argument("--pretrained", required=True, help="the encoder of those runs")
    parser.add_argument("--minilm", required=True, help="an .npz of benchmarks/minilm.py")
    options = vars(parser.parse_args(arguments))
    data, encoder, minilm = (existing_path(options[name], name) for name in options)
    sources = accuracy.Sources(data, {"pretrained": encoder}, (minilm,))
    papers, p = held_out(sources)
    classes, labels, predicted = p.shape[1], papers["label"].to_numpy(), p.argmax(1)
    correct, listed = predicted == labels, multi_hot(papers["labels"], classes)
    any_listed, count = listed[np.arange(len(p)), predicted], listed.sum(1)
    lines = []
    for name, rows in (("one class", count == 1), ("two", count == 2), ("more", count > 2)):
        shares = rows.mean(), correct[rows].mean(), any_listed[rows].mean()
        lines.append([name, *(f"{share:.1%}" for share in shares)])
    print(f"{len(papers):,} held-out papers, accuracy {correct.mean():.1%}\n")
    print(markdown(["papers that list", "share", "accuracy", "any listed"], lines))
    top_two = np.sort(p, 1)[:, -2:].sum(1)
    print(f"\nconfident learning: {confident_noise(labels, p):.1%} of the labels are wrong")
    print(f"mean probability of the two best classes: {top_two.mean():.1%}")

    everyone = label_papers(sources.papers, accuracy.PRIMARY).documents
    nearest, cosine = near_duplicates(sources.encodings.of(everyone["id"]))
    label = everyone["label"].to_numpy()
    differ, near = label != label[nearest], cosine >= NEAR
    best = bayes_accuracy(float(differ.mean()), classes)
    print(f"the nearest paper has another label: {differ.mean():.1%} of the papers")
    print(f"best accuracy if neighbours were as close as can be: {best:.1%}")
    print(
        f"near-duplicates (cosine from {NEAR}) with another label: {differ[near].mean():.1%} of "
        f"{near.sum():,} papers"
    )


if __name__ == "__main__":
    main()
