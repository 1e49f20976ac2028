"""Learn categories, and which title belongs to which abstract: the model that v6 starts from."""

from _shared import HERE, METRICS, MODEL, PAPERS, UNFINISHED, VECTORS, prepare, root, run

prepare()

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH
from arxiv_hybrid.data.paper_arrays import load_arrays
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.origin import Origin, today
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.reporting.encoder_card import encoder_card, figures_of
from arxiv_hybrid.system.files import write_csv, write_json, write_text
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training.classifier import curves
from arxiv_hybrid.training.encoder import train_encoder
from arxiv_hybrid.training.progress import discard
from arxiv_hybrid.training.trainer import Epoch, print_epoch
from arxiv_hybrid.vectors.matrix import load_matrix


def main(params: PretrainingParams) -> None:
    """Train, and save the model with its card and its curves."""
    keep_freed_memory()
    arrays = load_arrays(PAPERS)
    with track("encoder", params, root=root(), workspace=HERE) as mlrun:

        def on_epoch(epoch: Epoch) -> None:
            print_epoch(epoch)
            mlrun.metrics(epoch.metrics, epoch.epoch)

        encoder = train_encoder(
            arrays, params, load_matrix(VECTORS), on_epoch=on_epoch, resume=UNFINISHED
        )
        figures = figures_of(encoder)
        months = sorted(set(arrays.summary["months"]) - {UNKNOWN_MONTH}) or [""]
        kept = {name: source["kept"] for name, source in arrays.summary["sources"].items()}
        origin = Origin(kept, len(arrays), months[0], months[-1], today(), task="pre-trained")
        model = encoder.classifier
        checkpoint.save(
            MODEL, model.model, model.vocabulary, model.config, model.familiarity,
            compact=True, origin=origin, papers=arrays.ids,
        )  # fmt: skip
        card = encoder_card(arrays.summary, figures, params.model_dump(mode="json"))
        write_text(MODEL / "README.md", card)
        write_csv(METRICS / "curves.csv", curves(encoder.history))
        figures["model"] = checkpoint.digest(MODEL)
        write_json(METRICS / "encoder.json", figures)
        mlrun.tags({"model.digest": figures["model"]})
        mlrun.metrics({"validation": figures})
        mlrun.learning_curves(curves(encoder.history))
    discard(UNFINISHED)
    print(f"{encoder.history.summary} -> {MODEL}")


if __name__ == "__main__":
    run(main)
