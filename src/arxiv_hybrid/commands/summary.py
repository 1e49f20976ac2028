"""Print what the last run reached; not a DVC stage, `make repro` ends with it."""

from _stage import METRICS, MODEL, REPORTS, ROOT, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.evaluation.report import summary
from arxiv_hybrid.system.files import read_json


def main(_: Params) -> None:
    names = ("audit", "baseline", "evaluate", "ensemble")
    places = {
        "model": f"{MODEL}/",
        "metrics": f"{METRICS}/ (dvc metrics show, dvc metrics diff)",
        "data audit": f"{REPORTS / 'audit.html'}",
        "plots": "dvc plots show -> dvc_plots/index.html",
        "MLflow runs": f"make ui (store: {ROOT / 'mlflow.db'})",
    }
    print(summary({name: read_json(METRICS / f"{name}.json") for name in names}, places))


if __name__ == "__main__":
    run(main, quiet=True)
