"""Combine the main model and the members by voting, and measure their diversity."""

from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.evaluation.ensemble import (
    TestTimeAugmentation,
    calibrated,
    diversity,
    equal_weights,
    fit_vote_temperature,
    fitted_weights,
    member_probabilities,
    member_scores,
    vote,
)
from arxiv_hybrid.evaluation.report import full_report, prediction_rows
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import BASELINE, MEMBERS, METRICS, MODEL, PLOTS, SPLITS, repository_root
from arxiv_hybrid.system.files import read_parquet, write_csv, write_json
from arxiv_hybrid.tracking import track


def main(params: Params) -> None:
    settings = params.ensemble
    parts = {name: read_parquet(SPLITS / f"{name}.parquet") for name in ("val", "test")}
    baseline = {name: read_parquet(BASELINE / f"{name}.parquet") for name in parts}
    # only the members that params name: a folder may hold those of an earlier list
    folders = {"main": MODEL, **{m.name: MEMBERS / m.name for m in settings.members}}
    labels = {name: papers["label"].to_numpy() for name, papers in parts.items()}
    with track("ensemble", params, root=repository_root(), workspace=Path.cwd()) as mlrun:
        mlrun.tags({f"model.digest.{n}": checkpoint.digest(f) for n, f in folders.items()})
        voters = {
            name: checkpoint.load(folder, device=params.device, precision=params.precision)
            for name, folder in folders.items()
        }
        names = voters["main"].config.classes
        augmentation = TestTimeAugmentation(settings.tta, params.augment.alpha, params.seed)
        members = {
            part: member_probabilities(voters, papers, augmentation)
            for part, papers in parts.items()
        }
        linear = {part: table[names].to_numpy() for part, table in baseline.items()}
        if settings.linear:
            members = {part: {**members[part], "linear": linear[part]} for part in parts}
        weights = equal_weights(members["test"])
        if settings.weights == "fitted":
            weights = fitted_weights(labels["val"], members["val"])
        temperature = fit_vote_temperature(labels["val"], vote(members["val"], weights))
        votes = calibrated(vote(members["test"], weights), temperature)
        report = full_report(parts["test"], votes, linear["test"], names, params)
        report["members"] = member_scores(labels["test"], members["test"], weights)
        report["temperature"] = temperature
        report["diversity"] = diversity(labels["test"], members["test"])
        write_json(METRICS / "ensemble.json", report)
        write_csv(PLOTS / "ensemble_confusion.csv", prediction_rows(labels["test"], votes, names))
        mlrun.dataset(parts["test"], "test", "evaluation")
        mlrun.metrics(report)
        mlrun.file(METRICS / "ensemble.json")
    print(f"ensemble of {len(weights)}: accuracy {report['accuracy']:.2%}")


if __name__ == "__main__":
    run(main)
