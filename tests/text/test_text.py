from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.text import augment
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import PAD, UNK, Vocabulary
from arxiv_hybrid.vectors import learn
from arxiv_hybrid.vectors import matrix as vector_matrix


def test_tokens_follow_the_common_text_rules() -> None:
    assert tokenize("GPT-4's  new\tScore: 91.5%!") == ["gpt-4", "s", "new", "score", "91", "5"]
    assert tokenize("naïve β-VAE") == ["na", "ve", "-vae"]
    assert tokenize("数学 !?") == []
    assert tokenize("a\u2028b\x1cc\ud800d \N{KELVIN SIGN}") == ["a", "b", "c", "d", "k"]


def test_vocabulary_is_ordered_by_frequency_and_bounded() -> None:
    documents = [["b", "a", "a"], ["a", "b", "c"], ["d", "d", "e"]]
    vocabulary = Vocabulary.build(documents, max_size=50, min_freq=2)
    assert vocabulary.words == ("<PAD>", "<UNK>", "a", "b", "d")
    assert len(Vocabulary.build(documents, max_size=4, min_freq=1)) == 4


def test_encoding_cuts_pads_and_never_leaves_a_row_empty() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    ids = vocabulary.encode([["a", "x", "b", "a"], ["b"], []], 3)
    assert ids.tolist() == [[2, UNK, 3], [3, PAD, PAD], [UNK, PAD, PAD]]


def test_a_vocabulary_without_its_specials_is_refused() -> None:
    with pytest.raises(ValueError, match="starts with"):
        Vocabulary(("a", "b"))


METHODS = {"word2vec": partial(learn.word2vec, epochs=60), "ppmi_svd": learn.ppmi_svd}


@pytest.mark.parametrize("method", METHODS)
def test_vectors_put_words_of_one_topic_together_and_repeat_themselves(method: str) -> None:
    random = np.random.default_rng(0)
    topics = [[f"{name}{i}" for i in range(40)] for name in "xy"]
    documents = [random.choice(topics[n % 2], 60).tolist() for n in range(200)]
    train = partial(METHODS[method], documents, dim=4, window=3, min_freq=2, seed=1)
    words, found = train()
    again = train()
    assert words == again[0]
    np.testing.assert_array_equal(found, again[1])
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    similar = unit @ unit.T
    same = np.array([[a[0] == b[0] for b in words] for a in words])
    assert similar[same].mean() > similar[~same].mean() + 0.3


def test_windows_do_not_reach_into_the_next_document() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    apart = learn._cooccurrences([["a"], ["b"]], vocabulary, window=5)
    beside = learn._cooccurrences([["a", "b"]], vocabulary, window=5)
    assert apart.sum() == 0
    assert beside[2, 3] == beside[3, 2] == 1


def test_vectors_survive_a_round_trip(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    learn.save_vectors(tmp_path / "v", ["a", "b", "c"], matrix)
    words, loaded = learn.load_vectors(tmp_path / "v")
    assert words == ["a", "b", "c"]
    np.testing.assert_array_equal(loaded, matrix)


def test_embedding_matrix_places_vectors_by_word() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    given = np.array([[3.0, 0.0], [0.0, 4.0]], dtype=np.float32)
    matrix, known = vector_matrix.embedding_matrix(vocabulary, ["b", "z"], given, dim=3, seed=0)
    assert known.tolist() == [False, False, False, True]
    assert matrix[PAD].tolist() == [0, 0, 0]
    assert matrix[3, 0] == pytest.approx(3 * vector_matrix.SPREAD / given.std())
    assert matrix[3, 1:].tolist() == [0, 0]
    assert np.abs(matrix[2]).sum() > 0


def test_coverage_counts_running_words() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    report = vector_matrix.coverage(
        vocabulary, {"test": [["a", "x"], ["b", "y"]]}, np.array([False, False, True, False])
    )
    assert report == {"size": 4, "words_with_vector": 0.5, "out_of_vocabulary": {"test": 0.5}}


TEXT = "We propose a novel method that improves accurate parsing because results remain limited"


@pytest.mark.parametrize("operation", augment._OPERATIONS)
def test_eda_operations_change_as_many_words_as_asked(operation) -> None:
    words = TEXT.split()
    changed = operation(words, 2, np.random.default_rng(0), augment.thesaurus())
    assert words == TEXT.split()
    assert changed != words
    if operation is augment._delete:
        assert len(changed) == len(words) - 2
    elif operation is augment._swap:
        assert sorted(changed) == sorted(words)
    else:
        assert sum(a != b for a, b in zip(words, changed, strict=True)) == 2


def test_synonyms_come_from_the_thesaurus() -> None:
    thesaurus = augment.thesaurus()
    assert len(thesaurus) > 1000
    assert "novel" in thesaurus["new"]
    assert all(word not in others and others for word, others in thesaurus.items())
    replaced = augment._replace_synonyms(["novel"], 1, np.random.default_rng(0), thesaurus)
    assert replaced[0] in thesaurus["novel"]


def test_neighbours_are_the_nearest_words_and_near_enough() -> None:
    words = ["king", "queen", "banana", "monarch", "pear"]
    vectors = np.array([[1, 0.1], [1, 0.2], [0.02, 1], [0.9, 0.4], [-1, 0]], dtype=np.float32)
    near = augment.neighbours(words, vectors)
    assert near["king"] == ["queen", "monarch"]
    assert "banana" not in near
    assert "pear" not in near
    text = "the king of the fruit"
    made = {
        augment.augment(text, 0.1, np.random.default_rng(seed), near).split()[1]
        for seed in range(40)
    }
    assert {"queen", "monarch"} <= made


def test_neighbours_become_synonyms_of_variants_beside_the_thesaurus() -> None:
    train = pd.DataFrame({"id": ["a"] * 60, "abstract": ["zyx novel"] * 60, "label": 0})
    made = augment.add_variants(train, fraction=1.0, alpha=0.5, seed=1, near={"zyx": ["abc"]})
    texts = " ".join(made.loc[made["augmented"], "abstract"])
    assert "abc" in texts
    assert any(word in texts for word in augment.thesaurus()["novel"])


def test_a_single_word_stays() -> None:
    assert augment.augment("word", 0.5, np.random.default_rng(0)) == "word"


def test_variants_follow_the_originals_and_keep_their_labels() -> None:
    train = pd.DataFrame({"id": list("abcdefghij"), "abstract": [TEXT] * 10, "label": range(10)})
    result = augment.add_variants(train, fraction=0.3, alpha=0.1, seed=5)
    assert len(result) == 13
    assert result["augmented"].tolist() == [False] * 10 + [True] * 3
    variants = result[result["augmented"]]
    assert (variants["abstract"] != TEXT).all()
    assert (train.set_index("id")["label"].loc[variants["id"]].to_numpy() == variants.label).all()
    pd.testing.assert_frame_equal(
        result, augment.add_variants(train, fraction=0.3, alpha=0.1, seed=5)
    )
    assert len(augment.add_variants(train, fraction=0, alpha=0.1, seed=5)) == 10


def test_only_the_wanted_vectors_are_kept_in_their_order() -> None:
    words, matrix = learn.only(["a", "b", "c"], np.eye(3, dtype=np.float32), {"c", "a", "x"})
    assert words == ["a", "c"]
    np.testing.assert_array_equal(matrix, np.eye(3, dtype=np.float32)[[0, 2]])
