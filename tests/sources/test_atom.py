"""Pages of arXiv's API: what is read, and what is an error."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from conftest import ROOT

from arxiv_hybrid.data.identifiers import is_arxiv_id
from arxiv_hybrid.sources.arxiv_pagination import Entry
from arxiv_hybrid.sources.atom import FeedError, parse_page

NEW = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"
      xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
  <title>arXiv Query: search_query=all:x</title>
  <opensearch:totalResults>{total}</opensearch:totalResults>
{entries}</feed>
"""
OLD = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{total}\
</opensearch:totalResults>
{entries}</feed>
"""
DATES = "<published>2007-10-08T00:00:00-04:00</published><updated>2026-04-12T22:09:27Z</updated>"


def entry(
    identifier: str = "http://arxiv.org/abs/2511.00010v2",
    title: str = "Title",
    summary: str = "Words.",
    dates: str = DATES,
) -> str:
    return (
        f"<entry><id>{identifier}</id><title>{title}</title><summary>{summary}</summary>{dates}"
        '<author><name>A. N.</name><arxiv:affiliation xmlns:arxiv="http://arxiv.org/schemas/atom">'
        'Here</arxiv:affiliation></author><category term="cs.CL"/><category term="68T50"/>'
        '<arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.LG"/>'
        "</entry>\n"
    )


def feed(*entries: str, total: object = 1, form: str = NEW) -> bytes:
    return form.format(total=total, entries="".join(entries)).encode()


@pytest.mark.parametrize("form", [NEW, OLD])
def test_both_forms_of_the_feed_are_read(form: str) -> None:
    page = parse_page(feed(entry(), total=214881, form=form))
    assert (page.total, page.undated, page.error) == (214881, [], "")
    (record,) = page.entries
    assert record.id == "http://arxiv.org/abs/2511.00010v2"
    assert record.published == datetime(2007, 10, 8, 4, tzinfo=UTC)
    paper = Entry.of(record)
    assert paper.id == "2511.00010"
    assert (paper.categories, paper.unknown) == (("cs.LG", "cs.CL"), ())


@pytest.mark.parametrize("title", ["0", "p", "$p$", "42", "日本", "x < y & z", "NaN-boxing"])
def test_short_titles_are_titles(title: str) -> None:
    record = parse_page(feed(entry(title=escape(title)))).entries[0]
    assert record.title == title
    assert Entry.of(record).has_text


def test_texts_are_put_on_one_line_and_may_be_missing() -> None:
    wrapped = Entry.of(
        parse_page(feed(entry(title="  A\n  title", summary=" On\n x. "))).entries[0]
    )
    assert (wrapped.title, wrapped.abstract) == ("A title", "On x.")
    bare = f"<entry><id>http://arxiv.org/abs/hep-th/9901001v1</id>{DATES}</entry>"
    paper = Entry.of(parse_page(feed(bare)).entries[0])
    assert (paper.id, paper.categories, paper.has_text) == ("hep-th/9901001", (), False)
    inside = entry(title="On <i>x</i> <!-- no --> and y")
    assert Entry.of(parse_page(feed(inside)).entries[0]).title == "On x and y"


def test_a_revision_without_a_date_has_that_of_the_paper() -> None:
    record = parse_page(feed(entry(dates="<published>2026-01-02</published>"))).entries[0]
    assert record.updated == record.published == datetime(2026, 1, 2, tzinfo=UTC)


def test_entries_without_a_date_are_listed() -> None:
    page = parse_page(feed(entry(dates=""), entry(), entry(identifier=""), total=3))
    assert page.undated == ["http://arxiv.org/abs/2511.00010v2", "an entry without an id"]
    assert len(page.entries) == 1


@pytest.mark.parametrize(
    ("identifier", "title", "summary", "reason"),
    [
        ("https://arxiv.org/api/errors#x", "Error", "incorrect id\n format", "incorrect id format"),
        ("http://arxiv.org/api/errors#y", "Fehler", "start must be", "start must be"),
        ("", "Error", "max_results", "max_results"),
        ("https://arxiv.org/api/errors", "Error", "", "an error without a reason"),
    ],
)
def test_the_reason_of_a_refusal_is_read(
    identifier: str, title: str, summary: str, reason: str
) -> None:
    page = parse_page(feed(entry(identifier, title, summary, "<updated>2026-04-12</updated>")))
    assert page.error == reason
    assert not page.entries
    assert not page.undated


WHOLE = feed(entry(), entry())
BROKEN = {
    "empty": b"",
    "a web page": b"<!DOCTYPE html><html><body><p>Moved.<br></body></html>",
    "well-formed HTML": b"<html><body>Moved.</body></html>",
    "cut": WHOLE[: len(WHOLE) // 2],
    "Latin-1": WHOLE.replace(b"Title", "Poincaré".encode("latin-1")),
    "unknown encoding": WHOLE.replace(b"UTF-8", b"utf-9"),
    "a control character": WHOLE.replace(b"Title", b"Ti\x0ctle"),
    "no total": WHOLE.replace(b">1</opensearch", b"></opensearch"),
    "a total of words": feed(total="many"),
    "a negative total": feed(total=-1),
    "a total of 5,000 digits": feed(total="9" * 5000),
    "a bad date": feed(entry(dates="<published>yesterday</published>")),
    "a date out of range": feed(entry(dates="<published>0001-01-01T00:00:00+14:00</published>")),
    "deep": feed("<a>" * 5000 + "</a>" * 5000),
    "another namespace": WHOLE.replace(b"http://www.w3.org/2005/Atom", b"http://x"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_page_is_an_error(kind: str) -> None:
    with pytest.raises(FeedError) as caught:
        parse_page(BROKEN[kind])
    assert len(str(caught.value)) < 300


def test_a_malformed_page_is_read_as_far_as_possible_if_asked() -> None:
    page = parse_page(BROKEN["a control character"], recover=True)
    assert [record.id for record in page.entries] == [record.id for record in page.entries[:1]] * 2
    assert parse_page(BROKEN["cut"], recover=True).total == 1
    for kind in ("empty", "a web page", "no total"):
        with pytest.raises(FeedError):
            parse_page(BROKEN[kind], recover=True)


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    def declaring(entities: str, title: str) -> bytes:
        page = feed(entry(title=title)).decode()
        return page.replace("<feed", f"<!DOCTYPE feed [{entities}]><feed", 1).encode()

    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    outside = declaring(f'<!ENTITY file SYSTEM "{secret}">', "&file;")
    assert parse_page(outside).entries[0].title == "&file;"
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    with pytest.raises(FeedError, match="not well-formed"):
        parse_page(declaring(f'<!ENTITY l0 "ha">{laughs}', "&l11;"))


FOLDER = Path(os.environ.get("ARXIV_HYBRID_ATOM") or ROOT.parent / "shared/data/atom")
RECORDED = sorted(FOLDER.glob("*.xml"))


@pytest.mark.skipif(not RECORDED, reason=f"no recorded pages in {FOLDER} (ARXIV_HYBRID_ATOM)")
def test_every_recorded_page_is_read() -> None:
    for path in RECORDED:
        content = path.read_bytes()
        page = parse_page(content)
        if b"/api/errors" in content:
            assert re.match(r"incorrect id format for \w+$", page.error), path
            continue
        assert page.error == "", path
        assert not page.undated, path
        assert len(page.entries) == content.count(b"<entry"), path
        assert page.total >= len(page.entries), path
        for paper in map(Entry.of, page.entries):
            assert is_arxiv_id(paper.id), paper
            assert paper.has_text, paper
            assert paper.categories, paper
            assert not paper.unknown, paper
            assert paper.published <= paper.updated, paper
