"""Train a model on the training papers; the best epoch on validation papers is kept."""

from argparse import ArgumentParser
from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Params, for_member
from arxiv_hybrid.paths import (
    AUGMENTED,
    EMBEDDINGS,
    LABELS,
    SPLITS,
    VOCABULARY,
    model_paths,
    repository_root,
)
from arxiv_hybrid.system.files import read_lines, read_parquet, user_file, write_csv, write_json
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training.classifier import curves, report, train_classifier
from arxiv_hybrid.training.distributed import Group, process_group
from arxiv_hybrid.training.progress import discard
from arxiv_hybrid.training.provenance import origin_of
from arxiv_hybrid.training.trainer import Epoch, print_epoch
from arxiv_hybrid.vectors.matrix import load_matrix


def main(params: Params, member: str | None) -> None:
    params = for_member(params, member) if member else params
    device = choose_device(params.device, params.precision).device  # fails before any work
    with process_group(params.processes, device) as group:
        train(params, member, group)


def train(params: Params, member: str | None, group: Group) -> None:
    root, paths, quiet = repository_root(), model_paths(member), not group.is_main
    papers, val = read_parquet(AUGMENTED), read_parquet(SPLITS / "val.parquet")
    vectors = load_matrix(EMBEDDINGS)  # first: it checks the words, too
    vocabulary = Vocabulary(tuple(read_lines(VOCABULARY)))
    encoder = load_pretrained(user_file(root, params.pretrained)) if params.pretrained else None
    with track("train", params, member, root=root, workspace=Path.cwd(), quiet=quiet) as mlrun:
        mlrun.dataset(papers, "train", "training")
        mlrun.dataset(val, "val", "validation")

        def on_epoch(epoch: Epoch) -> None:
            print_epoch(epoch)
            mlrun.metrics(epoch.metrics, epoch.epoch)

        classifier, history = train_classifier(
            params, papers, val, vocabulary, vectors, LabelSet.read(LABELS),
            pretrained=encoder, group=group, on_epoch=on_epoch, resume=paths.unfinished,
        )  # fmt: skip
        if not group.is_main:
            return  # all processes have the same model; one writes it
        classifier.save(paths.folder, origin_of(papers, params, encoder))
        write_csv(paths.plots / "learning_curves.csv", curves(history))
        best = report(classifier, history)
        files = [SPLITS / "val.parquet", paths.folder / checkpoint.WEIGHTS]
        write_json(paths.metrics / "train.json", best, computed_from=files)
        mlrun.training(best, model=checkpoint.digest(paths.folder), main=not member)
        mlrun.learning_curves(curves(history))
        if params.tracking.log_model:
            config = classifier.config
            mlrun.model(paths.folder, config.classes, multi_label=config.multi_label)
    discard(paths.unfinished)
    print(f"{member or 'main'}: {history.summary}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--member", help="a name in ensemble.members")
    arguments = parser.parse_args()
    run(lambda params: main(params, arguments.member))
