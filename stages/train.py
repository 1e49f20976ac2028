"""Train a model on the training papers; the best epoch on validation papers is kept."""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params import Params, for_member, parse
from arxiv_hybrid.paths import TrainingInputs, model_paths, repository_root
from arxiv_hybrid.system.agreement import failing_together, variable
from arxiv_hybrid.system.files import read_lines, user_file, write_csv, write_json
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import track
from arxiv_hybrid.training.classifier import curves, report, train_classifier
from arxiv_hybrid.training.distributed import Group, process_group
from arxiv_hybrid.training.progress import discard, shared_facts
from arxiv_hybrid.training.provenance import origin_of
from arxiv_hybrid.training.trainer import Epoch, print_epoch
from arxiv_hybrid.vectors.matrix import load_matrix


def main(params: Params, member: str | None) -> None:
    with failing_together():
        params = for_member(params, member) if member else params
        count = variable("WORLD_SIZE", params.processes)  # torchrun decides
        params = parse({**params.written, "processes": count}, "params.yaml")
        device_config = choose_device(params.device, params.precision)  # fails before any work
        encoder = user_file(repository_root(), params.pretrained) if params.pretrained else None
    facts = partial(shared_facts, params, device_config, TrainingInputs(), encoder)
    with process_group(count, device_config.device, facts) as group:
        train(params, member, encoder, group)


def train(params: Params, member: str | None, encoder: Path | None, group: Group) -> None:
    root, paths, quiet = repository_root(), model_paths(member), not group.is_main
    inputs = TrainingInputs()
    papers, val = PaperFile(inputs.train), PaperFile(inputs.val)
    vectors = load_matrix(inputs.embeddings)  # first: it checks the words, too
    vocabulary = Vocabulary(tuple(read_lines(inputs.vocabulary)))
    pretrained = load_pretrained(encoder) if encoder else None
    with track("train", params, member, root=root, workspace=Path.cwd(), quiet=quiet) as mlrun:
        mlrun.dataset(papers, "train", "training")
        mlrun.dataset(val, "val", "validation")

        def on_epoch(epoch: Epoch) -> None:
            print_epoch(epoch)
            mlrun.metrics(epoch.metrics, epoch.epoch)

        classifier, history = train_classifier(
            params, papers, val, vocabulary, vectors, LabelSet.read(inputs.labels),
            pretrained=pretrained, group=group, on_epoch=on_epoch, resume=paths.unfinished,
        )  # fmt: skip
        best, config = report(classifier, history), classifier.config
        if group.is_main:  # all processes have the same model; one writes it
            classifier.save(paths.folder, origin_of(papers, params, pretrained))
            write_csv(paths.curves, curves(history))
            files = [inputs.val, paths.folder / checkpoint.WEIGHTS]
            write_json(paths.metrics, best, computed_from=files)
        group.copy_to_machines([paths.folder, paths.curves, paths.metrics])
        mlrun.training(best, model=checkpoint.digest(paths.folder), main=not member)
        mlrun.learning_curves(curves(history))
        if params.tracking.log_model:
            mlrun.model(paths.folder, config.classes, multi_label=config.multi_label)
    discard(paths.unfinished)
    if group.is_main:
        print(f"{member or 'main'}: {history.summary}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--member", help="a name in ensemble.members")
    run(partial(main, member=parser.parse_args().member))
