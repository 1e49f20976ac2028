"""Evaluate the main model on test papers against the baseline, and explain some predictions."""

from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import labelled_digest
from arxiv_hybrid.evaluation.attention import attention_table, explain
from arxiv_hybrid.evaluation.classes import without_many
from arxiv_hybrid.evaluation.confusion import confusion_table
from arxiv_hybrid.evaluation.measures import main_measure
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.reference import reference_of
from arxiv_hybrid.evaluation.report import full_report
from arxiv_hybrid.evaluation.summary import evaluation_line, if_baseline_wins
from arxiv_hybrid.evaluation.tables import full_tables, plot_tables
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import (
    BASELINE,
    LABELS,
    METRICS,
    MODEL,
    PLOTS,
    REFERENCE,
    REPORTS,
    SPLITS,
    repository_root,
)
from arxiv_hybrid.reporting import figures
from arxiv_hybrid.reporting.attention_page import attention_page
from arxiv_hybrid.system.files import read_parquet, write_bytes, write_csv, write_json, write_text
from arxiv_hybrid.tracking import track


def main(params: Params) -> None:
    test, label_set = read_parquet(SPLITS / "test.parquet"), LabelSet.read(LABELS)
    baseline = Predictions.read(BASELINE, "test", multi_label=label_set.multi_label)
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    with track("evaluate", params, root=repository_root(), workspace=Path.cwd()) as mlrun:
        papers = test, label_set, predict(classifier, test)
        report = full_report(*papers, baseline, params)
        plots = plot_tables(*papers, report, params.evaluate.calibration_bins)
        explained = explain(classifier, test.head(params.evaluate.explain_papers))
        files = [SPLITS / "test.parquet", BASELINE / "test.parquet", MODEL / checkpoint.WEIGHTS]
        write_json(METRICS / "evaluate.json", without_many(report), computed_from=files)
        for name, table in full_tables(*papers, report).items():
            write_csv(REPORTS / f"{name}.csv", table)
        for name, table in (plots | {"attention": attention_table(explained)}).items():
            write_csv(PLOTS / f"{name}.csv", table)
        write_text(REPORTS / "attention.html", attention_page(explained, classifier.config.model))
        for number, paper in enumerate(explained, 1):
            picture = figures.png(figures.attention(paper))
            write_bytes(REPORTS / "attention" / f"{number}.png", picture)
        digest = checkpoint.digest(MODEL)
        write_json(REFERENCE, reference_of(classifier, *papers, digest).to_json())
        mlrun.tags({"model.digest": digest})
        mlrun.scores(report, test, model=digest)
        mlrun.file(METRICS / "evaluate.json")
        mlrun.file(REFERENCE)
        if mlrun.active:
            figure = figures.confusion_matrix(confusion_table(*papers), "test papers")
            mlrun.figure(figure, "confusion.png")
            mlrun.figure(figures.reliability_diagram(plots["reliability"]), "reliability.png")
            mlrun.file(REPORTS / "attention.html")
            mlrun.file(REPORTS / "classes.csv")
        if register_as := params.tracking.register_as:
            labels = test["labels"] if label_set.multi_label else test["label"]
            measured_on = labelled_digest(test.assign(label=labels))
            result = mlrun.register(register_as, digest, main_measure(report), measured_on)
            print(result or f"not registered as {register_as}: MLflow does not log this run")
    print(evaluation_line(report), *if_baseline_wins(report, str(BASELINE)), sep="\n")


if __name__ == "__main__":
    run(main)
