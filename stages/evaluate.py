"""Evaluate the main model on test papers against the baseline, and explain some predictions."""

from pathlib import Path

import pandas as pd

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.table import labelled_digest
from arxiv_hybrid.evaluation.attention import attention_table, explain
from arxiv_hybrid.evaluation.metrics import confusion, reliability
from arxiv_hybrid.evaluation.report import class_rows, full_report, prediction_rows
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import BASELINE, METRICS, MODEL, PLOTS, REPORTS, SPLITS, repository_root
from arxiv_hybrid.reporting import figures
from arxiv_hybrid.reporting.attention_page import attention_page
from arxiv_hybrid.system.files import read_parquet, write_bytes, write_csv, write_json, write_text
from arxiv_hybrid.tracking import track


def main(params: Params) -> None:
    test, baseline = read_parquet(SPLITS / "test.parquet"), read_parquet(BASELINE / "test.parquet")
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    names = classifier.config.classes
    with track("evaluate", params, root=repository_root(), workspace=Path.cwd()) as mlrun:
        labels, probabilities = test["label"].to_numpy(), classifier.probabilities(test).numpy()
        report = full_report(test, probabilities, baseline[names].to_numpy(), names, params)
        bins = pd.DataFrame(reliability(labels, probabilities, params.evaluate.calibration_bins))
        explained = explain(classifier, test.head(params.evaluate.explain_papers))
        write_json(METRICS / "evaluate.json", report)
        write_csv(PLOTS / "confusion.csv", prediction_rows(labels, probabilities, names))
        write_csv(PLOTS / "reliability.csv", bins)
        write_csv(PLOTS / "classes.csv", class_rows(report))
        write_csv(PLOTS / "attention.csv", attention_table(explained))
        write_text(REPORTS / "attention.html", attention_page(explained, classifier.config.model))
        for number, paper in enumerate(explained, 1):
            picture = figures.png(figures.attention(paper))
            write_bytes(REPORTS / "attention" / f"{number}.png", picture)
        mlrun.dataset(test, "test", "evaluation")
        digest = checkpoint.digest(MODEL)
        mlrun.tags({"model.digest": digest})
        mlrun.metrics(report)
        mlrun.file(METRICS / "evaluate.json")
        if mlrun.active:
            counts = confusion(labels, probabilities.argmax(1), len(names))
            mlrun.figure(figures.confusion_matrix(counts, names, "test papers"), "confusion.png")
            mlrun.figure(figures.reliability_diagram(bins), "reliability.png")
            mlrun.file(REPORTS / "attention.html")
            for number in range(1, len(explained) + 1):
                mlrun.file(REPORTS / "attention" / f"{number}.png", "attention")
        if name := params.tracking.register_as:
            result = mlrun.register(name, digest, report["accuracy"], labelled_digest(test))
            print(result or f"not registered as {name}: MLflow does not log this run")
    gain = report["against_baseline"]
    print(
        f"accuracy {report['accuracy']:.2%}, macro-F1 {report['macro_f1']:.2%}, "
        f"{gain['gain']:+.2%} over the baseline (p = {gain['p_value']:.2g})"
    )


if __name__ == "__main__":
    run(main)
