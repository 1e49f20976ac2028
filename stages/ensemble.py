"""Combine the main model and the members by voting, and measure their diversity."""

from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.classes import without_many
from arxiv_hybrid.evaluation.confusion import confusion_rows
from arxiv_hybrid.evaluation.ensemble import (
    TestTimeAugmentation,
    Vote,
    calibrated,
    classes_of,
    diversity,
    member_predictions,
    member_probabilities,
    member_scores,
)
from arxiv_hybrid.evaluation.measures import headline
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import full_report
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import (
    BASELINE,
    LABELS,
    MEMBERS,
    METRICS,
    MODEL,
    PLOTS,
    SPLITS,
    repository_root,
)
from arxiv_hybrid.system.files import read_parquet, write_csv, write_json
from arxiv_hybrid.tracking import track


def main(params: Params) -> None:
    settings, label_set = params.ensemble, LabelSet.read(LABELS)
    several, per_class = label_set.multi_label, params.thresholds == "per_class"
    parts = {name: read_parquet(SPLITS / f"{name}.parquet") for name in ("val", "test")}
    linear = {part: Predictions.read(BASELINE, part, multi_label=several) for part in parts}
    # only the members that params name: a folder may hold those of an earlier list
    folders = {"main": MODEL, **{m.name: MEMBERS / m.name for m in settings.members}}
    classes = {name: classes_of(papers, label_set) for name, papers in parts.items()}
    with track("ensemble", params, root=repository_root(), workspace=Path.cwd()) as mlrun:
        mlrun.tags({f"model.digest.{n}": checkpoint.digest(f) for n, f in folders.items()})
        voters = {
            name: checkpoint.load(folder, device=params.device, precision=params.precision)
            for name, folder in folders.items()
        }
        augmentation = TestTimeAugmentation(settings.tta, params.augment.alpha, params.seed)
        val, test = (member_probabilities(voters, p, augmentation) for p in parts.values())
        if settings.linear:
            val["linear"], test["linear"] = calibrated(
                classes["val"], linear["val"], linear["test"]
            )
        vote = Vote.fit(classes["val"], val, settings.weights, per_class=per_class)
        votes = vote.predict(test)
        members = member_predictions(classes["val"], val, test, per_class=per_class)
        report = full_report(parts["test"], label_set, votes, linear["test"], params)
        report["members"] = member_scores(classes["test"], members, vote.weights)
        report["temperature"] = vote.temperature
        report["diversity"] = diversity(classes["test"], members)
        if several:
            report["bias"] = vote.bias
        files = [*(SPLITS / f"{name}.parquet" for name in parts), BASELINE / "test.parquet"]
        files += [folder / checkpoint.WEIGHTS for folder in folders.values()]
        write_json(METRICS / "ensemble.json", without_many(report), computed_from=files)
        write_csv(PLOTS / "ensemble_confusion.csv", confusion_rows(parts["test"], label_set, votes))
        mlrun.scores(report, parts["test"])
        mlrun.file(METRICS / "ensemble.json")
    print(f"ensemble of {len(voters) + settings.linear}: {headline(report)}")


if __name__ == "__main__":
    run(main)
