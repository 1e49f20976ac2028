"""Label the papers and split them into train, validation and test."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import PAPERS, SPLITS
from arxiv_hybrid.system.files import write_parquet


def main(params: Params) -> None:
    labels, split = params.labels, params.split
    documents = label_papers(read_papers(PAPERS), scheme=labels.scheme, classes=labels.classes)
    parts = split_documents(
        documents,
        by=split.by,
        val=split.val,
        test=split.test,
        seed=split.seed,
        classes=labels.classes,
    )
    for name, part in parts.items():
        write_parquet(SPLITS / f"{name}.parquet", part)
    print(", ".join(f"{len(part):,} {name}" for name, part in parts.items()))


if __name__ == "__main__":
    run(main)
