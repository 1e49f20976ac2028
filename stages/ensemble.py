"""Let the main model and the members vote on the test papers."""

from _stage import BASELINE, MEMBERS, METRICS, MODEL, PLOTS, ROOT, SPLITS, WORKSPACE, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.evaluation.ensemble import diversity, member_probabilities, soft_vote
from arxiv_hybrid.evaluation.report import full_report, prediction_rows
from arxiv_hybrid.io import read_parquet, write_csv, write_json
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training import checkpoint


def main(params: Params) -> None:
    test, baseline = read_parquet(SPLITS / "test.parquet"), read_parquet(BASELINE)
    # only the members that params name: a folder may hold those of an earlier list
    folders = {"main": MODEL, **{m.name: MEMBERS / m.name for m in params.ensemble.members}}
    labels = test["label"].to_numpy()
    with track("ensemble", params, root=ROOT, workspace=WORKSPACE) as mlrun:
        members, names = {}, []
        for name, folder in folders.items():
            member = checkpoint.load(folder, device=params.device, precision=params.precision)
            names = member.facts.classes
            members[name] = member_probabilities(
                member,
                test,
                tta=params.ensemble.tta,
                alpha=params.augment.alpha,
                seed=params.seed,
            )
            mlrun.tags({f"model.digest.{name}": checkpoint.digest(folder)})
        votes = soft_vote(list(members.values()))
        report = full_report(test, votes, baseline[names].to_numpy(), names, params)
        report["members"] = {
            name: {"accuracy": float((p.argmax(1) == labels).mean())} for name, p in members.items()
        }
        report["diversity"] = diversity(labels, members)
        write_json(METRICS / "ensemble.json", report)
        write_csv(PLOTS / "ensemble_confusion.csv", prediction_rows(labels, votes, names))
        mlrun.dataset(test, "test", "evaluation")
        mlrun.metrics(report)
        mlrun.file(METRICS / "ensemble.json")
    print(f"ensemble of {len(members)}: accuracy {report['accuracy']:.2%}")


if __name__ == "__main__":
    run(main)
