"""Read all papers once: without duplicates and those to leave out, as token ids and labels."""

from _shared import PAPERS, prepare, root, run

prepare()

from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.sources.corpus import CorpusSettings, gather
from arxiv_hybrid.system.files import user_file


def main(params: PretrainingParams) -> None:
    """Write the papers, and print what was kept of each file."""
    texts = [user_file(root(), name) for name in params.text_files]
    leave_out = [user_file(root(), name) for name in params.left_out_files]
    summary = gather(texts, leave_out, params.values_of(CorpusSettings), PAPERS)
    for name, source in summary["sources"].items():
        reasons = [f"{count:,} {reason}" for reason, count in source["left_out"].items()]
        print(f"{name}: {source['kept']:,} papers", *reasons, sep="; ")
    print(
        f"{summary['papers']:,} papers, {summary['words']:,} words, "
        f"{len(summary['classes'])} categories -> {PAPERS}"
    )


if __name__ == "__main__":
    run(main)
