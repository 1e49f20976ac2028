"""Train the main model, or with `--member NAME` one of the ensemble; torchrun may start it."""

from argparse import ArgumentParser
from dataclasses import asdict

from arxiv_hybrid.params import for_member
from _stage import (
    AUGMENTED,
    EMBEDDINGS,
    MEMBERS,
    METRICS,
    MODEL,
    PLOTS,
    ROOT,
    SPLITS,
    VOCABULARY,
    WORKSPACE,
    run,
)

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.files import read_lines, read_parquet, user_file, write_csv, write_json
from arxiv_hybrid.vectors.matrix import load_matrix
from arxiv_hybrid.vectors.pretrained import load_pretrained
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking.run import track
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.training.distributed import Group, processes
from arxiv_hybrid.training.loop import Epoch, say
from arxiv_hybrid.training.classifier import curves, report, train_classifier


def main(params: Params, member: str | None) -> None:
    if member:
        params = for_member(params, member)
    device_config = choose_device(
        params.device, params.precision
    )  # one that is not there fails first
    with processes(params.processes, device_config.device) as group:
        train(params, member, group)


def train(params: Params, member: str | None, group: Group) -> None:
    folder = MEMBERS / member if member else MODEL
    metrics, plots = [METRICS / "members" / member] * 2 if member else (METRICS, PLOTS)
    papers, val = read_parquet(AUGMENTED), read_parquet(SPLITS / "val.parquet")
    words, vectors = Vocabulary(tuple(read_lines(VOCABULARY))), load_matrix(EMBEDDINGS)
    start = load_pretrained(user_file(ROOT, params.pretrained)) if params.pretrained else None
    with track("train", params, root=ROOT, workspace=WORKSPACE, quiet=not group.first) as mlrun:
        mlrun.dataset(papers, "train", "training")
        mlrun.dataset(val, "val", "validation")

        def on_epoch(epoch: Epoch) -> None:
            say(epoch)
            mlrun.metrics({k: v for k, v in asdict(epoch).items() if k != "epoch"}, epoch.epoch)

        classifier, history = train_classifier(
            params, papers, val, words, vectors, pretrained=start, group=group, on_epoch=on_epoch
        )
        if not group.first:
            return  # all have the same model, one writes it
        checkpoint.save(folder, classifier.model, words, classifier.config)
        write_csv(plots / "learning_curves.csv", curves(history))
        write_json(metrics / "train.json", report(classifier, history))
        mlrun.tags({"member": member or "main", "model.digest": checkpoint.digest(folder)})
        mlrun.metrics({"best": report(classifier, history)})
        if mlrun.active:
            from arxiv_hybrid.reporting.figures import learning_curves

            mlrun.figure(learning_curves(curves(history)), "learning_curves.png")
            if params.tracking.log_model:
                mlrun.model(folder, classifier.config.classes)
    best = history.best_epoch
    print(f"{member or 'main'}: best epoch {best.epoch}, val accuracy {best.val_accuracy:.2%}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--member", help="a name in ensemble.members")
    arguments = parser.parse_args()
    run(lambda params: main(params, arguments.member))
