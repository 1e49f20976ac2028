"""Noisy labels: how much they allow, and how many planted mistakes `data labels` finds.

    python benchmarks/noise.py estimates --data papers.csv.gz --pretrained pretraining/model \
        --minilm minilm.npz
    python benchmarks/noise.py flips --data papers.csv.gz --dump arxiv_snapshot_2025.json.gz

`estimates` reads the single model's probabilities on all finished splits of the clean protocol of
accuracy.py and averages them for each paper over the splits in which the paper was held out. It
trains nothing.

`flips` gives 5 % of the papers another label: any other one, or the one that out-of-fold models
confuse most with their own. Then it ranks all papers by the quality of their labels. The tasks are
the clean protocol with four classes and the newest papers of six fields (see tasks.py). cleanlab's
rankings are included if it is installed.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import accuracy
import numpy as np
import numpy.typing as npt
import pandas as pd
from runner import existing_path, markdown, new_parser
from sklearn.neighbors import NearestNeighbors
from tasks import FIELDS, newest_of_fields
from workload import encoder_folder

from arxiv_hybrid.audit.duplicates import groups_of_copies
from arxiv_hybrid.data.label_set import multi_hot
from arxiv_hybrid.data.labels import LabelledPapers, label_papers
from arxiv_hybrid.evaluation.ensemble import Vote
from arxiv_hybrid.evaluation.label_issues import estimated_noise, label_quality
from arxiv_hybrid.evaluation.out_of_fold import Encoder, OutOfFold, deal, out_of_fold
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Labels
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.system.errors import UserError, exit_on_user_error

NEAR = 0.85  # two papers with this cosine of MiniLM's vectors count as near-duplicates
FLIPPED, FIRST, SEEDS = 0.05, (0.05, 0.1), (0, 1, 2)
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Ranking = Callable[[Numbers, Floats], Floats]  # labels and probabilities to a quality


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


def near_duplicates(vectors: npt.NDArray[np.float32]) -> tuple[Numbers, Floats]:
    """The row of each paper's nearest other paper (N,), and the cosine between the two (N,)."""
    distances, rows = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectors).kneighbors()
    return rows[:, 0], 1 - distances[:, 0]


def bayes_accuracy(error: float, classes: int) -> float:
    """The best accuracy that a 1-nearest-neighbour error allows (Cover and Hart 1967)."""
    room = max(0.0, 1 - classes / (classes - 1) * error)
    return float(1 - (classes - 1) / classes * (1 - np.sqrt(room)))


def estimates(options: Namespace) -> None:
    """Print how much the labels allow."""
    data = existing_path(options.data, "data")
    encoder = existing_path(options.pretrained, "pretrained")
    minilm = existing_path(options.minilm, "minilm")
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
    print(f"\nconfident learning: {estimated_noise(labels, p):.1%} of the labels are wrong")
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


def self_confidence(labels: Numbers, p: Floats) -> Floats:
    """The probability of the given label."""
    result: Floats = p[np.arange(len(p)), labels]
    return result


def normalized_margin(labels: Numbers, p: Floats) -> Floats:
    """The probability of the given label, less that of the likeliest other."""
    others = p.copy()
    others[np.arange(len(p)), labels] = 0
    result: Floats = self_confidence(labels, p) - others.max(1)
    return result


def rankings() -> dict[str, Ranking]:
    """What labels are ranked by; the smallest values come first."""
    found: dict[str, Ranking] = {
        "p / (p + q)": label_quality,
        "self-confidence": self_confidence,
        "normalized margin": normalized_margin,
    }
    if find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        def adjusted(labels: Numbers, p: Floats) -> Floats:
            return np.asarray(get_label_quality_scores(labels, p, adjust_pred_probs=True))

        def issues_first(labels: Numbers, p: Floats) -> Floats:
            result: Floats = self_confidence(labels, p) - find_label_issues(labels, p)
            return result

        found |= {"cleanlab, adjusted": adjusted, "cleanlab, issues first": issues_first}
    return found


def flipped(labels: Numbers, kind: str, confused: Numbers, seed: int) -> Numbers:
    """The labels (N,), a share `FLIPPED` of them changed; confused (C,): the class for each."""
    random, labels = np.random.default_rng(seed), labels.copy()
    rows = random.choice(len(labels), round(FLIPPED * len(labels)), replace=False)
    if kind == "confused":
        labels[rows] = confused[labels[rows]]
    else:
        labels[rows] = (labels[rows] + random.integers(1, len(confused), len(rows))) % len(confused)
    return labels


def most_confused(labels: Numbers, p: Floats) -> Numbers:
    """For each class the one that papers of it are most often taken for, (C,)."""
    counts = np.zeros((p.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (labels, p.argmax(1)), 1)
    np.fill_diagonal(counts, -1)
    result: Numbers = counts.argmax(1)
    return result


def found_in(quality: Floats, wrong: npt.NDArray[np.bool_]) -> list[float]:
    """The shares of the wrong labels in the first parts (`FIRST`) of the ranking."""
    order = np.argsort(quality, kind="stable")
    return [float(wrong[order[: round(part * len(wrong))]].sum() / wrong.sum()) for part in FIRST]


def alone(result: OutOfFold, labels: Numbers, member: str) -> Floats:
    """The probabilities of a member, calibrated like the vote."""
    votes = {member: result.members[member]}
    return Vote.fit(labels, votes, "equal").predict(votes).probabilities


def measured(labelled: LabelledPapers, encoder: Encoder) -> Iterator[dict[str, object]]:
    """For each kind of flips, seed and ranking the shares found, and what competes with them."""
    papers, label_set, found = labelled.documents, labelled.label_set, rankings()
    truth, listed = papers["label"].to_numpy(), multi_hot(papers["labels"], len(label_set))
    groups, rows = groups_of_copies(papers), np.arange(len(papers))
    for seed in SEEDS:
        folds = deal(papers, groups, label_set, seed)
        clean = out_of_fold(papers, label_set, folds, encoder).predictions.probabilities
        if not seed:
            accuracy, noise = (clean.argmax(1) == truth).mean(), estimated_noise(truth, clean)
            print(f"{len(papers):,} papers, {len(label_set)} classes, accuracy {accuracy:.1%}, "
                  f"estimated noise {noise:.1%}", flush=True)  # fmt: skip
        for kind in ("uniform", "confused"):
            labels = flipped(truth, kind, most_confused(truth, clean), seed)
            result = out_of_fold(papers.assign(label=labels), label_set, folds, encoder)
            p, wrong = result.predictions.probabilities, labels != truth
            scores = {f"vote, {name}": ranking(labels, p) for name, ranking in found.items()}
            for member in result.members:
                scores[member] = label_quality(labels, alone(result, labels, member))
            scores["vote, models of the true labels"] = label_quality(labels, clean)
            for name, quality in scores.items():
                shares = dict(zip(map(str, FIRST), found_in(quality, wrong), strict=True))
                yield {"flips": kind, "ranking": name, "seed": seed, **shares}
            first = np.argsort(label_quality(labels, p), kind="stable")[: int(wrong.sum())]
            others = first[~wrong[first]]
            choice = listed[others, p[others].argmax(1)].mean()
            print(f"{kind}, seed {seed}: estimated noise {estimated_noise(labels, p):.1%}; the "
                  f"authors list the new label for {listed[rows, labels][wrong].mean():.1%} of the "
                  f"flips, and the suggested one for {choice:.1%} of the {len(others)} other "
                  f"papers in the first {FLIPPED:.0%}", flush=True)  # fmt: skip


def flips(options: Namespace) -> None:
    """Print which share of planted mistakes the first papers of the ranking have."""
    folder = encoder_folder(options.pretrained)
    encoder = Encoder(checkpoint.load_network(folder), load_pretrained(folder).papers)
    tasks = []
    if options.dump:
        newest = newest_of_fields(existing_path(options.dump, "dump"))
        fields = Labels.model_validate({"from": "primary", "classes": list(FIELDS)})
        tasks.append(label_papers(newest, fields))
    if options.data:
        rows = read_csv(existing_path(options.data, "data"), option="--data")
        tasks.append(label_papers(rows, accuracy.PRIMARY))
    for labelled in tasks:
        table = pd.DataFrame(measured(labelled, encoder))
        columns = list(map(str, FIRST))
        shares = table.groupby(["ranking", "flips"], sort=False)[columns].agg(["mean", "std"])
        lines = []
        for name, part in shares.groupby("ranking", sort=False):
            cells = [f"{100 * row[first, 'mean']:.1f} ± {100 * row[first, 'std']:.1f}"
                     for _, row in part.iterrows() for first in columns]  # fmt: skip
            lines.append([str(name), *cells])
        header = [f"{kind}, first {part:.0%}" for kind in table["flips"].unique() for part in FIRST]
        print("\n" + markdown(["ranking", *header], lines) + "\n", flush=True)


@exit_on_user_error("stopped")
def main(arguments: list[str] | None = None) -> None:
    """Print the estimates, or what is found of planted mistakes."""
    parser = new_parser(__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("estimates")
    command.add_argument("--data", required=True, help="the CSV of the finished runs")
    command.add_argument("--pretrained", required=True, help="the encoder of those runs")
    command.add_argument("--minilm", required=True, help="an .npz of benchmarks/minilm.py")
    command.set_defaults(run=estimates)
    command = commands.add_parser("flips")
    command.add_argument("--data", help="a CSV of papers for the clean protocol")
    command.add_argument("--dump", help="a metadata dump, for the six fields")
    command.add_argument("--pretrained", help="an encoder that has not read them (the shipped one)")
    command.set_defaults(run=flips)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
