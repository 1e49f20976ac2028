"""Papers of other fields against a trained classifier: does it know that they are none of its own?

    python benchmarks/unfamiliar.py --dump arxiv_149_categories.json.xz

Takes the model and the test papers of the last run. For each archive of arXiv it draws papers that
list none of the model's categories, and compares how well two scores tell them from the test
papers: the largest probability, and the likeness that is behind `unsure`
(`inference.familiarity`). Higher is better; 0.5 is chance.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from runner import ROOT, new_parser
from sklearn.metrics import roc_auc_score

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.paths import LABELS, MODEL, SPLITS
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.taxonomy.categories import archive_of, split_categories, unaliased

PAPERS = 1500  # of other archives, and of each archive that has some of the model's categories


def outside(dump: Path, label_set: LabelSet, seed: int) -> dict[str, pd.DataFrame]:
    """Papers of none of the classes: of `other archives`, and of each archive of the classes."""
    own = {category for members in label_set.categories.values() for category in members}
    if not own:
        raise UserError("the classes of the last run are not arXiv categories")
    papers = read_snapshot(
        dump, categories=None, per_category=None, sample="newest", seed=0, window=Window()
    ).table(per_query=False)
    listed = papers["all_categories"].map(lambda cell: set(map(unaliased, split_categories(cell))))
    papers, listed = papers[listed.map(own.isdisjoint)], listed[listed.map(own.isdisjoint)]
    archives = listed.map(lambda names: {archive_of(name) for name in names})
    near = sorted({archive_of(category) for category in own})
    groups = {"other archives": archives.map(set(near).isdisjoint)}
    for name in near:
        groups[f"{name}, other categories"] = archives.map({name}.issubset)
    return {
        name: papers[chosen].sample(min(PAPERS, int(chosen.sum())), random_state=seed)
        for name, chosen in groups.items()
        if chosen.any()
    }


def scores(classifier: Classifier, papers: pd.DataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """Two scores of each paper (N,): low for a paper unlike the training papers."""
    if classifier.familiarity is None:
        raise UserError(f"{MODEL}: was trained before predictions could be unsure; train it again")
    encoded = classifier.encode(papers)
    likeness = np.nan_to_num(classifier.familiarity.scores(encoded), neginf=-1e6)
    return {
        "largest probability": classifier.probabilities(papers).amax(1).numpy(),
        "likeness": likeness,
    }


def main() -> None:
    """Print a table."""
    parser = new_parser(__doc__)
    parser.add_argument("--dump", type=Path, required=True, help="a metadata dump")
    parser.add_argument("--seed", type=int, default=0, help="which papers are drawn (0)")
    options = parser.parse_args()
    classifier = checkpoint.load_network(ROOT / MODEL)
    known = scores(classifier, pd.read_parquet(ROOT / SPLITS / "test.parquet"))
    threshold = classifier.familiarity.threshold if classifier.familiarity else 0.0
    print(f"test papers called unsure: {(known['likeness'] < threshold).mean():.1%}")
    print("| papers | number | AUROC, largest probability | AUROC, likeness | called unsure |")
    print("|---|---|---|---|---|")
    label_set = LabelSet.read(ROOT / LABELS)
    for name, papers in outside(options.dump, label_set, options.seed).items():
        found = scores(classifier, papers)
        areas = [
            roc_auc_score(
                np.repeat([1, 0], [len(known[score]), len(found[score])]),
                np.concatenate([known[score], found[score]]),
            )
            for score in known
        ]
        caught = f"{(found['likeness'] < threshold).mean():.1%}"
        print(f"| {name} | {len(papers):,} | {areas[0]:.3f} | {areas[1]:.3f} | {caught} |")


if __name__ == "__main__":
    with exit_on_user_error("stopped"):
        main()
