"""Train one next-word model on corpus.txt: `python train.py cnn` or `python train.py cnn_lstm`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "src"))
# sums in another order would give other last digits; so small a network gains nothing by two
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pandas as pd  # noqa: E402
import yaml  # noqa: E402
from tqdm import tqdm  # noqa: E402

from arxiv_hybrid.scratch.next_word import KINDS, History, Settings, references, save_model, train  # noqa: E402
from arxiv_hybrid.system.errors import UserError  # noqa: E402
from arxiv_hybrid.system.files import read_lines, write_csv, write_json  # noqa: E402


def main(kind: str) -> None:
    """Train, save the model, its figures and its curves beside this script."""
    settings = settings_of(yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8")))
    with tqdm(total=settings.epochs, desc=kind, unit="epoch", disable=None) as bar:

        def on_epoch(history: History) -> None:
            bar.set_postfix(loss=history.loss[-1], val_accuracy=history.val_accuracy[-1])
            bar.update()

        texts = read_lines(HERE / "corpus.txt")
        model = train(kind, texts, settings, on_epoch=on_epoch)
    curves = pd.DataFrame(vars(model.history))
    curves.insert(0, "epoch", range(1, len(curves) + 1))
    save_model(HERE / "models" / kind, model)
    write_csv(HERE / "metrics" / f"{kind}.csv", curves)
    last = curves.iloc[-1].drop("epoch").to_dict()
    best = {"val_loss": curves["val_loss"].min(), "val_accuracy": curves["val_accuracy"].max()}
    beside = references(texts, settings)
    report = {"last": last, "best": best, "references": beside}
    write_json(HERE / "metrics" / f"{kind}.json", report)
    print(
        f"{kind}: {len(model.words):,} words, accuracy {last['accuracy']:.1%} of at most "
        f"{beside['possible']:.1%}, on held-out sentences {last['val_accuracy']:.1%} (best "
        f"{best['val_accuracy']:.1%}, bigrams {beside['bigram_val']:.1%})"
    )


def settings_of(params: dict[str, object]) -> Settings:
    """Settings from params.yaml; UserError for an unknown or missing key."""
    known = set(Settings.__dataclass_fields__) - {"dtype"}
    if params.keys() != known:
        wrong = ", ".join(sorted(params.keys() ^ known))
        raise UserError(f"params.yaml: expected the keys {', '.join(sorted(known))}; see {wrong}")
    return Settings(**params)  # type: ignore[arg-type]


if __name__ == "__main__":
    try:
        if len(sys.argv) != 2:
            raise UserError(f"say which model to train: {' or '.join(KINDS)}")
        main(sys.argv[1])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
