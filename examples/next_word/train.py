"""Train one next-word model on corpus.txt: `python train.py cnn` or `python train.py cnn_lstm`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# set up the process before NumPy is imported: use this repository's source, and one thread,
# because more would change the order of sums and gain nothing on so small a network
sys.path.insert(0, str(HERE.parents[1] / "src"))
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pandas as pd  # noqa: E402
import yaml  # noqa: E402

from arxiv_hybrid.scratch.next_word import KINDS, History, Settings, save_model  # noqa: E402
from arxiv_hybrid.scratch.training import references, train  # noqa: E402
from arxiv_hybrid.system.errors import UserError, exit_on_user_error  # noqa: E402
from arxiv_hybrid.system.files import read_lines, write_csv, write_json  # noqa: E402
from arxiv_hybrid.system.ticker import Progress  # noqa: E402


def main(kind: str) -> None:
    """Train a model; write it, its metrics and its curves next to this script."""
    settings = read_settings(HERE / "params.yaml")
    texts = read_lines(HERE / "corpus.txt")
    with Progress(what=kind, total=settings.epochs, unit="epochs", leave=True) as bar:

        def on_epoch(history: History) -> None:
            bar.details = lambda: (
                f"loss {history.loss[-1]:.3f}, held-out accuracy {history.val_accuracy[-1]:.1%}"
            )
            bar.update()

        model = train(kind, texts, settings, on_epoch=on_epoch)
    curves = pd.DataFrame(vars(model.history))
    curves.insert(0, "epoch", range(1, len(curves) + 1))
    last = curves.iloc[-1].drop("epoch").to_dict()
    best = {"val_loss": curves["val_loss"].min(), "val_accuracy": curves["val_accuracy"].max()}
    reference = references(texts, settings)
    save_model(HERE / "models" / kind, model)
    write_csv(HERE / "metrics" / f"{kind}.csv", curves)
    write_json(
        HERE / "metrics" / f"{kind}.json", {"last": last, "best": best, "references": reference}
    )
    print(
        f"{kind}: {len(model.vocabulary):,} words, training accuracy {last['accuracy']:.1%} "
        f"(possible: {reference['possible']:.1%}), held-out accuracy {last['val_accuracy']:.1%} "
        f"(best epoch: {best['val_accuracy']:.1%}, bigrams: {reference['bigram_val']:.1%})"
    )


def read_settings(path: Path) -> Settings:
    """Read params.yaml; UserError for an unknown or missing key."""
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    expected = set(Settings.__dataclass_fields__) - {"dtype"}
    if params.keys() != expected:
        wrong = ", ".join(sorted(params.keys() ^ expected))
        raise UserError(
            f"params.yaml: unknown or missing: {wrong}; expected the keys "
            f"{', '.join(sorted(expected))}"
        )
    return Settings(**params)


if __name__ == "__main__":
    with exit_on_user_error("stopped; the same command starts again"):
        if len(sys.argv) != 2:
            raise UserError(f"name the model to train: {' or '.join(KINDS)}")
        main(sys.argv[1])
