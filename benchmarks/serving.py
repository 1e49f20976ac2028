"""Many clients using the scoring server at once: requests per second, latency and lost requests.

    make serve                                             # in another terminal
    python benchmarks/serving.py [--clients 50] [--seconds 30]

Each client sends the next paper as soon as it has an answer.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import requests
from runner import Stopwatch, new_parser

PAPER = {"title": "Speech recognition", "abstract": "We present a corpus of read speech. " * 20}


def ask(url: str, until: float) -> list[tuple[str, float]]:
    """Send requests until a moment; the HTTP status or error of each, and its seconds."""
    answers = []
    with requests.Session() as session:
        while time.monotonic() < until:
            with Stopwatch() as watch:
                try:
                    response = session.post(url, json={"dataframe_records": [PAPER]}, timeout=60)
                    status = str(response.status_code)
                    if response.ok and "category" not in response.json()["predictions"][0]:
                        status = "no category"
                except requests.RequestException as error:
                    status = type(error).__name__
            answers.append((status, watch.seconds))
    return answers


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:5001/invocations")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    with Stopwatch() as watch, ThreadPoolExecutor(options.clients) as pool:
        clients = [pool.submit(ask, options.url, until) for _ in range(options.clients)]
    answers = [answer for client in clients for answer in client.result()]
    statuses = Counter(status for status, _ in answers)
    median, p99 = 1000 * np.percentile([seconds for _, seconds in answers], [50, 99])
    lost = len(answers) - statuses["200"]
    print(f"{options.clients} clients, {watch.seconds:.0f} s: {len(answers):,} requests, ", end="")
    print(f"{lost} lost, {len(answers) / watch.seconds:.0f} per second, ", end="")
    print(f"p50 {median:.0f} ms, p99 {p99:.0f} ms")
    if lost:
        print(dict(statuses))
