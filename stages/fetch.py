"""Fetch the papers: from arXiv, a file, or the generator of synthetic ones."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import ORIGIN, PAPERS, download_cache, repository_root
from arxiv_hybrid.sources.fetch import SOURCES, Workspace
from arxiv_hybrid.system.files import write_json


def main(params: Params) -> None:
    source = params.fetch.source
    workspace = Workspace(repository_root(), download_cache, PAPERS.parent)
    fetched = SOURCES[source](params, workspace)
    fetched.write(PAPERS)
    write_json(ORIGIN, fetched.origin)
    fetched.cleanup()
    if fetched.remark:
        print(f"{source}: {fetched.remark}")
    print(f"{source}: {len(fetched.papers):,} rows, {fetched.distinct:,} papers -> {PAPERS}")


if __name__ == "__main__":
    run(main)
