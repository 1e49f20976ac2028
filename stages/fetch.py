"""Fetch the papers: from arXiv, a file, or the generator of synthetic ones."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import ORIGIN, PAPERS, download_cache, repository_root
from arxiv_hybrid.sources.fetch import SOURCES, Workspace
from arxiv_hybrid.system.files import write_csv, write_json


def main(params: Params) -> None:
    source = params.fetch.source
    fetched = SOURCES[source](params, Workspace(repository_root(), download_cache))
    write_csv(PAPERS, fetched.papers)
    write_json(ORIGIN, fetched.origin)
    fetched.cleanup()
    papers = fetched.papers["id"].nunique()
    if fetched.remark:
        print(f"{source}: {fetched.remark}")
    print(f"{source}: {len(fetched.papers):,} rows, {papers:,} papers -> {PAPERS}")


if __name__ == "__main__":
    run(main)
