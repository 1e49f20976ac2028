"""Fit the linear baseline, TF-IDF and logistic regression, to the same papers."""

from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.evaluation.classes import class_rows, without_many
from arxiv_hybrid.evaluation.linear import fit_linear, saved_model
from arxiv_hybrid.evaluation.measures import headline, shown_measures
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import majority_scores, scores
from arxiv_hybrid.inference.model_folder import digest
from arxiv_hybrid.inference.thresholds import fit_thresholds
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import (
    BASELINE,
    LABELS,
    METRICS,
    SPLIT_NAMES,
    SPLITS,
    repository_root,
)
from arxiv_hybrid.system.files import write_csv, write_json
from arxiv_hybrid.system.ticker import pulse
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training.provenance import origin_of


def main(params: Params) -> None:
    train, val, test = (PaperFile(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES)
    label_set = LabelSet.read(LABELS)
    names, thresholds = list(label_set.names), None
    with pulse("TF-IDF and logistic regression"):
        result = fit_linear(train, val, test, label_set)
    if label_set.multi_label:
        listed, per_class = multi_hot(val["labels"], len(names)), params.thresholds == "per_class"
        thresholds = fit_thresholds(listed, result.val, per_class=per_class).round(6)
    report = {}
    for part, papers, p in (("val", val, result.val), ("test", test, result.test)):
        predictions = Predictions(p, thresholds)
        predictions.write(BASELINE, part, names)
        report[part] = scores(papers, label_set, predictions, params.evaluate)
    main_measure = next(iter(shown_measures(report["val"])))
    content = {
        **report["test"],
        f"val_{main_measure}": report["val"][main_measure],
        "c": result.c,
        "features": result.features,
    }
    if label_set.multi_label:
        content["majority"] = majority_scores(train, test, label_set)
    model = saved_model(result, train, val, label_set, thresholds=thresholds)
    model.save(BASELINE, origin_of(train, params, None))
    files = [SPLITS / f"{name}.parquet" for name in SPLIT_NAMES]
    write_json(METRICS / "baseline.json", without_many(content), computed_from=files)
    write_csv(BASELINE / "classes.csv", class_rows(content["per_class"]))
    with track("baseline", params, root=repository_root(), workspace=Path.cwd()) as mlrun:
        mlrun.tags({"model.digest": digest(BASELINE)})
        mlrun.metrics(without_many(content))
        if params.tracking.log_model:
            mlrun.model(BASELINE, names, multi_label=label_set.multi_label)
    print(f"TF-IDF + linear: {headline(report['test'])} on test (C={result.c})")


if __name__ == "__main__":
    run(main)
