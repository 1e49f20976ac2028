"""arXiv ids: their canonical form and their order."""

from __future__ import annotations

import pytest

from arxiv_hybrid.data.identifiers import canonical, made_of, submission_order, submitted, text_key


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("2501.00001", "2501.00001"),
        ("2501.00001v12", "2501.00001"),
        ("arXiv:2501.00001", "2501.00001"),
        ("http://arxiv.org/abs/2501.00001v1", "2501.00001"),
        ("https://arxiv.org/pdf/0704.0001", "0704.0001"),
        ("cs.LG/0101002v1", "cs.LG/0101002"),
        ("2513.00001v1", "2513.00001v1"),  # no such month
        ("my-paper-v1", "my-paper-v1"),
        ("  my  paper 1\n", "my paper 1"),
    ],
)
def test_canonical_form(written: str, form: str) -> None:
    assert canonical(written) == form


def test_ids_sort_by_submission() -> None:
    ids = ["cs/9912001", "cs.LG/0101002", "0704.0001", "1412.9999", "1501.00001", "2501.10000"]
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
