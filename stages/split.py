"""Label the papers and split them into train, validation and test."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.ordering import write_rows
from arxiv_hybrid.data.splits import absent_classes, labels_table, papers_needed, split_documents
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import LABELS, PAPERS, SPLITS


def main(params: Params) -> None:
    labels, split = params.labels, params.split
    minimum = papers_needed(split) if labels.min_papers == "auto" else labels.min_papers
    papers = PaperFile(PAPERS).without_texts
    labelled = label_papers(papers.assign(row=papers.index), labels, minimum=minimum)
    label_set = labelled.label_set
    parts = split_documents(labelled.documents, split, label_set)
    label_set.write(LABELS)
    for name, part in parts.items():
        path, rows = SPLITS / f"{name}.parquet", part["row"].to_numpy()
        write_rows(path, PAPERS, rows, labels_table(part), bind=[LABELS])
    if labelled.left_out:
        print(f"left out: {labelled.left_out}")
    for remark in labelled.remarks:
        print(remark)
    for name, part in parts.items():
        if absent := absent_classes(part, label_set):
            print(f"{name} has no paper of {', '.join(absent)}")
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    print(f"{sizes}; {len(label_set)} classes{', several per paper' * label_set.multi_label}")


if __name__ == "__main__":
    run(main)
