"""What a trained classifier has learned from, for `inference.origin`."""

from __future__ import annotations

from pathlib import Path

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH, month_of
from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.inference.origin import SYNTHETIC, Origin, one_line, today
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.params import PRETRAINABLE, Params


def origin_of(papers: PaperTable, params: Params, encoder: Pretrained | None) -> Origin:
    """The origin of a classifier trained on these papers, which started from `encoder`.

    papers: columns id and published; copies of a paper count once. Models of generated papers do
    not say on which day they were trained: so the default run gives equal files on every day.
    """
    fetch = params.fetch
    days = dict(zip(papers["id"], papers["published"], strict=True))
    months = {month_of(identifier, day) for identifier, day in days.items()} - {UNKNOWN_MONTH}
    named = Path(fetch.path).name if fetch.path and fetch.source in ("csv", "snapshot") else ""
    return Origin(
        sources={one_line(named or fetch.source): len(days)},
        papers=len(days),
        first_month=min(months, default=""),
        last_month=max(months, default=""),
        trained="" if fetch.source == SYNTHETIC else today(),
        parent=_parent(params, encoder),
    )


def _parent(params: Params, encoder: Pretrained | None) -> str:
    if encoder is None:
        return ""
    what = "an encoder" if params.model == PRETRAINABLE else "the word vectors of an encoder"
    return one_line(f"{what} {encoder.origin.learned()}")
