"""Papers on their way into a table that does not fit into memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.sources import spool as module
from arxiv_hybrid.sources.spool import Spool
from arxiv_hybrid.sources.tables import Paper
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_parquet


def paper(identifier: str, abstract: str = "An abstract.") -> Paper:
    return Paper(identifier, f"Title of {identifier}", abstract, ("cs.LG", "stat.ML"), "")


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(module, "GROUP", 3)
    return Spool(tmp_path / "raw", "dump.json")


def test_each_paper_once_the_newest_first(spool: Spool, tmp_path: Path) -> None:
    ids = ["1412.0001", "2501.00007", "cs/0501001", "1501.00001", "2501.00008", "0704.0001",
           "math/0501001"]  # fmt: skip
    assert spool.add([paper(identifier) for identifier in ids[:4]]) == 0
    again = [paper(ids[1], "Another text."), paper(ids[4]), paper(ids[4]), paper(ids[5])]
    assert spool.add(again) == 2
    spool.add([paper(ids[6], "语音")])
    spool.flush()
    spool.write_newest_first(tmp_path / "raw/papers.parquet")
    spool.close()
    table = read_parquet(tmp_path / "raw/papers.parquet")
    assert tuple(table.columns) == COLUMNS
    assert table["id"].tolist() == ["2501.00008", "2501.00007", "1501.00001", "1412.0001",
                                    "0704.0001", "math/0501001", "cs/0501001"]  # fmt: skip
    assert table["abstract"].eq("An abstract.").sum() == 6, "the first text of an id stays"
    assert (len(spool), spool.without_tokens) == (7, 0)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["papers.parquet"]


def test_an_invalid_paper_is_named_by_its_row(spool: Spool, tmp_path: Path) -> None:
    spool.add([paper(f"2501.0000{n}") for n in range(1, 6)])
    with pytest.raises(UserError, match=r"dump\.json: row 7, column abstract: found 'n/a'"):
        spool.add([paper("2501.00008"), paper("2501.00009", "n/a"), paper("2501.00010")])
    spool.close()
    assert list((tmp_path / "raw").iterdir()) == []


def test_no_papers_are_an_error(spool: Spool) -> None:
    with pytest.raises(UserError, match=r"dump\.json: has no rows"):
        spool.flush()
    spool.close()
