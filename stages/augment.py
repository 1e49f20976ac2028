"""Add altered copies of some training abstracts (EDA)."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import AUGMENTED, LABELS, SPLITS, VECTORS
from arxiv_hybrid.system.files import write_frames
from arxiv_hybrid.text.augment import add_variants, neighbours
from arxiv_hybrid.vectors.storage import load_vectors


def main(params: Params) -> None:
    train, settings = PaperFile(SPLITS / "train.parquet"), params.augment
    near = None
    if settings.fraction and settings.synonyms == "vectors":
        near = neighbours(*load_vectors(VECTORS))
    augmented = add_variants(
        train,
        fraction=settings.fraction,
        alpha=settings.alpha,
        seed=params.seed,
        extra_synonyms=near,
    )
    rows = write_frames(AUGMENTED, augmented, bind=[LABELS])
    print(f"{len(train):,} papers + {rows - len(train):,} EDA variants -> {AUGMENTED}")


if __name__ == "__main__":
    run(main)
