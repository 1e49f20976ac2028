"""Add EDA variants of some training abstracts."""

from _stage import AUGMENTED, SPLITS, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.io import read_parquet, write_parquet
from arxiv_hybrid.text.augment import add_variants


def main(params: Params) -> None:
    train = read_parquet(SPLITS / "train.parquet")
    augmented = add_variants(
        train, fraction=params.augment.fraction, alpha=params.augment.alpha, seed=params.seed
    )
    write_parquet(AUGMENTED, augmented)
    print(f"{len(train):,} papers + {len(augmented) - len(train):,} EDA variants -> {AUGMENTED}")


if __name__ == "__main__":
    run(main)
