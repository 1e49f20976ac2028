"""`data inspect`: counts, lengths, dates, cross-listing and duplicates of a CSV of papers."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.audit.inspection import inspect, render
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.sources.csv_source import read_csv


def run(options: Namespace) -> None:
    """Print summary tables of a file of papers."""
    papers = check_papers(read_csv(options.file, option="FILE"), str(options.file))
    print(render(inspect(papers)))
