"""arXiv ids: their canonical form and their order."""

from __future__ import annotations

import pytest

from arxiv_hybrid.data.identifiers import (
    canonical,
    is_arxiv_id,
    lost_zeros,
    made_of,
    submission_order,
    submitted,
    text_key,
)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("2501.00001", "2501.00001"),
        ("2501.00001v12", "2501.00001"),
        ("arXiv:2501.00001", "2501.00001"),
        ("http://arxiv.org/abs/2501.00001v1", "2501.00001"),
        ("https://arxiv.org/pdf/0704.0001", "0704.0001"),
        ("2513.00001v1", "2513.00001v1"),  # no such month
        ("2501.0001v1", "2501.0001v1"),  # five digits since 2015
        ("0704.00011", "0704.00011"),  # four before
        ("https://example.org/2501.00001", "https://example.org/2501.00001"),
        ("https://arxiv.org/list/cs.LG/2501", "https://arxiv.org/list/cs.LG/2501"),
        ("10.1103/PhysRevD.76.013009", "10.1103/PhysRevD.76.013009"),
        ("cs1234567", "cs1234567"),
        ("\u0968\u0967\u0966\u0967.00001", "\u0968\u0967\u0966\u0967.00001"),
        ("my-paper-v1", "my-paper-v1"),
        ("  my  paper 1\n", "my paper 1"),
    ],
)
def test_canonical_form(written: str, form: str) -> None:
    assert canonical(written) == form


FORMS = """
{0} {0}v3 {0}V3 {0}.pdf {0}v1.pdf arXiv:{0} arxiv:{0}v2 ARXIV:{0} arXiv.{0} arxiv.org:{0}
http://arxiv.org/abs/{0} https://arxiv.org/abs/{0}v2 https://www.arxiv.org/abs/{0}/
arxiv.org/abs/{0} https://arxiv.org/pdf/{0}.pdf https://arxiv.org/pdf/{0}v4.pdf https://export.arxiv.org/abs/{0}
https://arxiv.org/html/{0}v1 https://arxiv.org/ps/{0} https://arxiv.org/format/{0}
https://arxiv.org/e-print/{0} https://arxiv.org/src/{0} https://arxiv.org/abs/{0}?context=cs
https://arxiv.org/abs/{0}#top https://arxiv.org/html/{0}v1/#S1 HTTPS://ARXIV.ORG/ABS/{0}
http://xxx.lanl.gov/abs/{0} http://de.arxiv.org/abs/{0} http://lanl.arxiv.org/abs/{0}v1
https://arxiv.org/abs/arXiv:{0} //arxiv.org/abs/{0} <https://arxiv.org/abs/{0}> [arXiv:{0}] ({0})
10.48550/arXiv.{0} https://doi.org/10.48550/arXiv.{0} http://dx.doi.org/10.48550/arxiv.{0}
doi:10.48550/arXiv.{0} DOI:10.48550/ARXIV.{0} doi.org/10.48550/arXiv.{0} oai:arXiv.org:{0}
info:arxiv/{0} https://ar5iv.org/abs/{0} https://ar5iv.labs.arxiv.org/html/{0}
https://huggingface.co/papers/{0} https://www.alphaxiv.org/abs/{0}v1 abs/{0} pdf/{0}.pdf
https://www.arxiv-vanity.com/papers/{0}/ https://scirate.com/arxiv/{0}
https://api.semanticscholar.org/arXiv:{0} https://www.semanticscholar.org/arxiv/{0} "{0}" {0}.
""".split()  # noqa: SIM905
SPACED = [" {0} ", "arXiv: {0}", "arXiv:{0} [cs.LG]", "arXiv:{0}v1 [cs.LG] 3 Jan 2025",
          "doi: 10.48550/arXiv.{0}", "arXiv {0}"]  # fmt: skip


@pytest.mark.parametrize("form", [*FORMS, *SPACED])
def test_every_form_of_an_id_is_one(form: str) -> None:
    for identifier in ("2501.00001", "1412.9999", "0704.0001", "math/0309136", "hep-th/9901001"):
        assert canonical(form.format(identifier)) == identifier
        assert is_arxiv_id(form.format(identifier))
    for old in ("math.GT/0309136", "Math.gt/0309136", "MATH/0309136", "math%2F0309136"):
        assert canonical(form.format(old)) == "math/0309136"


@pytest.mark.parametrize(
    ("ids", "row", "value"),
    [
        (["2511.00011", "2511.0001", "2511.00012"], 1, "2511.0001"),
        (["2511.10000", "2511.1"], 1, "2511.1"),
        (["704.0001", "0704.0002", "math/0309136"], 0, "704.0001"),
        (["1412.123", "1412.1234", "https://arxiv.org/abs/1412.1235"], 0, "1412.123"),
    ],
)
def test_ids_that_became_numbers_are_noticed(ids: list[str], row: int, value: str) -> None:
    lost = lost_zeros(ids)
    assert lost == (value, row, 1)
    assert str(lost).startswith(f"1 id of arXiv lacks zeros, the first {value} in row {row + 1}: a")


@pytest.mark.parametrize(
    "ids",
    [
        ["2511.00010", "1412.9999", "hep-th/9901001"],
        ["1001.1", "1001.2", "1001.10"],  # another numbering
        ["1", "2", "2511.00010", "1999.1"],  # no such month
        ["2511.0001v2", "2511.00011"],  # no number
        [],
    ],
)
def test_other_ids_are_not_taken_for_numbers(ids: list[str]) -> None:
    assert lost_zeros(ids) is None


def test_ids_without_their_last_zero_have_a_place_in_time() -> None:
    assert submitted("2511.0001") == submitted("2511.00010") == (2025, 11, 10)
    assert submission_order("2511.00009") < submission_order("2511.0001")
    assert submission_order("2511.0001") < submission_order("2511.00011")
    assert submitted("1001.1") is None, "perhaps another numbering"
    assert not is_arxiv_id("2511.0001")


def test_ids_sort_by_submission() -> None:
    ids = ["cs/9912001", "cs/0101002", "0704.0001", "1412.9999", "1501.00001", "2501.10000"]
    order = [submitted(i) for i in ids]
    assert None not in order
    assert order == sorted(order, key=lambda s: s or (0, 0, 0))
    assert order[0] == (1999, 12, 1)
    keys = [submission_order(i) for i in ids]
    assert keys == sorted(keys)
    assert submission_order("hep-th/9912001") > submission_order("cs/9912001")
    with pytest.raises(ValueError, match="not an arXiv id"):
        submission_order("synthetic.000001")
    assert submitted("synthetic.000001") is None


def test_ids_made_of_texts() -> None:
    assert made_of("A title", "Words.") == "text-4f1ee9502d14447d", "the same on every machine"
    assert made_of("A", "b c") != made_of("A b", "c")


def test_keys_of_texts_compare_words() -> None:
    assert text_key("A--B, c\u00e9!") == text_key("a b C") == "a b c"
    assert text_key("\u041f\u0442\u0438\u0446\u0430!") == text_key("\u043f\u0442\u0438\u0446\u0430")
    assert text_key("\u041f\u0442\u0438\u0446\u0430") != text_key("\u0420\u044b\u0431\u0430")
