"""Fetch papers from the source that params.yaml names."""

from _stage import ORIGIN, PAPERS, ROOT, cache, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.sources.fetch import SOURCES, Workspace
from arxiv_hybrid.system.files import write_csv, write_json


def main(params: Params) -> None:
    fetched = SOURCES[params.fetch.source](params.fetch, Workspace(ROOT, cache))
    write_csv(PAPERS, fetched.papers)
    write_json(ORIGIN, fetched.origin)
    fetched.cleanup()
    papers = fetched.papers["id"].nunique()
    if fetched.remark:
        print(f"{params.fetch.source}: {fetched.remark}")
    print(f"{params.fetch.source}: {len(fetched.papers):,} rows, {papers:,} papers -> {PAPERS}")


if __name__ == "__main__":
    run(main)
