"""Train the main model, or with `--member NAME` one member of the ensemble."""

from argparse import ArgumentParser
from dataclasses import asdict

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

from arxiv_hybrid.config import Params
from arxiv_hybrid.io import read_lines, read_parquet, user_file, write_csv, write_json
from arxiv_hybrid.text.embeddings import load_matrix
from arxiv_hybrid.text.pretrained import load_pretrained
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training import checkpoint
from arxiv_hybrid.training.devices import choose_machine
from arxiv_hybrid.training.loop import Epoch, say
from arxiv_hybrid.training.run import curves, report, train_classifier


def main(params: Params, member: str | None) -> None:
    if member:
        params = params.for_member(member)
    choose_machine(params.device, params.precision)  # a device that is not there fails first
    folder, metrics, plots = (
        (MEMBERS / member, METRICS / "members" / member, METRICS / "members" / member)
        if member
        else (MODEL, METRICS, PLOTS)
    )
    train, val = read_parquet(AUGMENTED), read_parquet(SPLITS / "val.parquet")
    vocabulary = Vocabulary(tuple(read_lines(VOCABULARY)))
    embeddings = load_matrix(EMBEDDINGS)
    start = load_pretrained(user_file(ROOT, params.pretrained)) if params.pretrained else None
    with track("train", params, root=ROOT, workspace=WORKSPACE) as mlrun:
        mlrun.dataset(train, "train", "training")
        mlrun.dataset(val, "val", "validation")

        def on_epoch(epoch: Epoch) -> None:
            say(epoch)
            mlrun.metrics({k: v for k, v in asdict(epoch).items() if k != "epoch"}, epoch.epoch)

        classifier, history = train_classifier(
            params, train, val, vocabulary, embeddings, pretrained=start, on_epoch=on_epoch
        )
        checkpoint.save(folder, classifier.model, vocabulary, classifier.facts)
        write_csv(plots / "learning_curves.csv", curves(history))
        write_json(metrics / "train.json", report(classifier, history))
        mlrun.tags({"member": member or "main", "model.digest": checkpoint.digest(folder)})
        mlrun.metrics({"best": report(classifier, history)})
        if mlrun.active:
            from arxiv_hybrid.evaluation.plots import learning_curves

            mlrun.figure(learning_curves(curves(history)), "learning_curves.png")
            if params.tracking.log_model:
                mlrun.model(folder)
    best = history.best_epoch
    print(f"{member or 'main'}: best epoch {best.epoch}, val accuracy {best.val_accuracy:.2%}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--member", help="a name in ensemble.members")
    arguments = parser.parse_args()
    run(lambda params: main(params, arguments.member))
