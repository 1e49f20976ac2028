"""Fit TF-IDF and a linear model on the same split."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.evaluation.linear import fit_linear, prediction_table
from arxiv_hybrid.evaluation.metrics import scores
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import BASELINE, LABELS, METRICS, SPLIT_NAMES, SPLITS
from arxiv_hybrid.system.files import read_parquet, write_json, write_parquet


def main(params: Params) -> None:
    train, val, test = (read_parquet(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES)
    names = list(LabelSet.read(LABELS).names)
    result = fit_linear(train, val, test, classes=len(names))
    report = {
        part: scores(
            frame["label"].to_numpy(),
            probabilities,
            names,
            listed=multi_hot(frame["labels"], len(names)),
            calibration_bins=params.evaluate.calibration_bins,
        )
        for part, frame, probabilities in (("val", val, result.val), ("test", test, result.test))
    }
    write_parquet(BASELINE / "val.parquet", prediction_table(val, result.val, names))
    write_parquet(BASELINE / "test.parquet", prediction_table(test, result.test, names))
    write_json(
        METRICS / "baseline.json",
        {
            **report["test"],
            "val_accuracy": report["val"]["accuracy"],
            "c": result.c,
            "features": result.features,
        },
    )
    print(f"TF-IDF + linear: {report['test']['accuracy']:.2%} on test (C={result.c})")


if __name__ == "__main__":
    run(main)
