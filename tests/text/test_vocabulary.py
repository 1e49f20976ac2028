from __future__ import annotations

import pytest

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import PAD, UNK, Vocabulary


def test_words_are_ordered_by_frequency_and_limited() -> None:
    documents = [["b", "a", "a"], ["a", "b", "c"], ["d", "d", "e"]]
    vocabulary = Vocabulary.build(documents, max_size=50, min_freq=2)
    assert vocabulary.words == ("<PAD>", "<UNK>", "a", "b", "d")
    assert len(Vocabulary.build(documents, max_size=4, min_freq=1)) == 4


def test_encode_truncates_pads_and_never_leaves_a_row_empty() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    ids = vocabulary.encode([["a", "x", "b", "a"], ["b"], []], 3)
    assert ids.tolist() == [[2, UNK, 3], [3, PAD, PAD], [UNK, PAD, PAD]]


def test_vocabulary_without_specials_is_refused() -> None:
    with pytest.raises(UserError, match="starts with"):
        Vocabulary(("a", "b"))
    with pytest.raises(UserError, match="appears twice"):
        Vocabulary(("<PAD>", "<UNK>", "a", "a"))
