"""Tokens of many texts as numbers on disk."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from arxiv_hybrid.text import token_ids
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.text.tokenize import tokenize, tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary, word_counts

TEXTS = ["Deep nets are deep", "", "语音", "nets - of Words", "deep", "of of of", "x1 y2 deep"]


@pytest.fixture(params=[2, 4096])
def tokens(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TokenIds:
    monkeypatch.setattr(token_ids, "_TEXTS_AT_ONCE", request.param)
    return TokenIds.of(iter(TEXTS))


def test_texts_come_back_as_often_as_one_likes(tokens: TokenIds) -> None:
    expected = tokenize_all(TEXTS)
    assert len(tokens) == len(TEXTS)
    assert list(tokens) == expected
    assert list(tokens) == expected
    assert tokens.lengths.tolist() == list(map(len, expected))
    assert tokens.words[:3] == ["deep", "nets", "are"], "as they first occur"


def test_counts(tokens: TokenIds) -> None:
    documents = tokenize_all(TEXTS)
    expected = Counter(word for document in documents for word in document)
    assert tokens.counts() == word_counts(tokens) == word_counts(documents) == expected
    first = Counter(word for document in documents[:4] for word in document)
    assert tokens.first(4).counts() == first, "words of later texts do not occur"
    assert list(tokens.first(4)) == documents[:4]
    rows = np.arange(len(TEXTS)) % 2 == 0
    for chosen, selected in ((None, documents), (rows, documents[::2])):
        once = Counter(word for document in selected for word in set(document))
        found = dict(zip(tokens.words, tokens.papers_with(chosen).tolist(), strict=True))
        assert {word: count for word, count in found.items() if count} == once


def test_the_vocabulary_of_files_is_that_of_lists(tokens: TokenIds) -> None:
    settings = {"max_size": 6, "min_freq": 1}
    assert Vocabulary.build(tokens, **settings) == Vocabulary.build(tokenize_all(TEXTS), **settings)


def test_no_texts_and_texts_without_tokens() -> None:
    for texts in ([], ["", "语"]):
        tokens = TokenIds.of(texts)
        assert (len(tokens), list(tokens), tokens.counts()) == (len(texts), [[]] * len(texts), {})
        assert tokens.papers_with().tolist() == []


def test_texts_from_the_middle_on(tokens: TokenIds) -> None:
    words = [[] for _ in TEXTS[3:]]
    first = 0
    for ids, text, number in tokens.blocks(first=3):
        for token, place in zip(ids.tolist(), text.tolist(), strict=True):
            words[first + place].append(tokens.words[token])
        first += number
    assert words == [tokenize(text) for text in TEXTS[3:]]
