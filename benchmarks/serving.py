"""Many clients asking the scoring server at once: requests a second, waits, and what was lost.

    make serve                                             # in another terminal
    python benchmarks/serving.py [--clients 50] [--seconds 30]

Each client sends the next paper as soon as it has an answer.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter

import numpy as np
import requests

PAPER = {"title": "Speech recognition", "abstract": "We present a corpus of read speech. " * 20}


def ask(url: str, until: float, waits: list[float], answers: Counter[str]) -> None:
    with requests.Session() as session:
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                answer = session.post(url, json={"dataframe_records": [PAPER]}, timeout=60)
                told = str(answer.status_code)
                if answer.ok and "category" not in answer.json()["predictions"][0]:
                    told = "no category"
            except requests.RequestException as error:
                told = type(error).__name__
            answers[told] += 1
            waits.append(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:5001/invocations")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    chosen = parser.parse_args()
    waits: list[float] = []
    answers: Counter[str] = Counter()
    until = time.monotonic() + chosen.seconds
    clients = [
        threading.Thread(target=ask, args=(chosen.url, until, waits, answers))
        for _ in range(chosen.clients)
    ]
    started = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - started
    middle, most = 1000 * np.percentile(waits, [50, 99])
    lost = sum(answers.values()) - answers["200"]
    print(f"{chosen.clients} clients, {took:.0f} s: {len(waits):,} requests, {lost} lost, "
          f"{len(waits) / took:.0f} a second, p50 {middle:.0f} ms, p99 {most:.0f} ms")  # fmt: skip
    if lost:
        print(dict(answers))


if __name__ == "__main__":
    main()
