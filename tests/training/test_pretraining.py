"""Pre-training: papers on disk, the objectives, what the model learns, and resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import DEFAULTS
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.paper_arrays import PaperArrays, load_arrays
from arxiv_hybrid.inference import checkpoint, weights
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import encode_papers
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.models import PooledCNN
from arxiv_hybrid.params import load_section
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.corpus import CorpusSettings, gather
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary
from arxiv_hybrid.training import encoder as encoder_module
from arxiv_hybrid.training import pretraining
from arxiv_hybrid.training import progress as progress_module
from arxiv_hybrid.training.encoder import TrainedEncoder, train_encoder
from arxiv_hybrid.training.from_encoder import load_encoder
from arxiv_hybrid.training.pretraining import (
    Pretraining,
    Settings,
    categories_loss,
    info_nce,
    primary_loss,
    split,
)
from arxiv_hybrid.training.stored_papers import StoredPapers
from arxiv_hybrid.training.trainer import Epoch
from arxiv_hybrid.vectors.matrix import FloatMatrix, embedding_matrix
from arxiv_hybrid.vectors.of_papers import Texts, vectors_of

CPU = torch.device("cpu")
LENGTHS = {"title_length": 8, "abstract_length": 40}
SMALL: dict[str, Any] = {
    "texts": "papers.csv", "dim": 12, "num_filters": 6, "kernel_sizes": [1, 3], "hidden": 16,
    "epochs": 2, "batch_size": 32, "learning_rate": 0.02,
    "validation": 0.2, "precision": "fp32", "device": "cpu", **LENGTHS,
}  # fmt: skip
OBJECTIVES = [["categories"], ["titles"], ["categories", "titles"]]
WITH_PRIMARY = ["categories", "primary", "titles"]


TOPICS = ("cs.AI", "cs.CL", "cs.CV", "cs.LG", "math.CO", "hep-th")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """240 papers whose words tell their category; a few list only a category that is rare."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(240):
        topic, other = random.permutation(len(TOPICS))[:2]
        listed = [TOPICS[topic], TOPICS[other]] if number % 3 == 0 else [TOPICS[topic]]
        if number % 29 == 0:
            listed = ["q-bio.BM"]
        words = [f"word{topic}{i}" for i in random.integers(0, 8, 20)]
        words += [f"word{other}{i}" for i in random.integers(0, 8, 20 if number % 3 == 0 else 0)]
        words += [f"common{i}" for i in random.integers(0, 50, 10)]
        title, abstract = (" ".join(random.permutation(words)[:n]) for n in (6, 50))
        rows.append((f"2501.{number:05}", title, abstract, ",".join(listed)))
    return pd.DataFrame(rows, columns=["id", "title", "abstract", "all_categories"])


@pytest.fixture(scope="module")
def arrays(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> PaperArrays:
    folder = tmp_path_factory.mktemp("corpus")
    table.to_csv(folder / "papers.csv", index=False)
    settings = CorpusSettings(vocabulary=5000, min_freq=2, min_papers=20, **LENGTHS)
    gather([folder / "papers.csv"], [], settings, folder / "papers")
    return load_arrays(folder / "papers")


def params_of(**changes: Any) -> PretrainingParams:
    content = yaml.safe_load((DEFAULTS / "pretraining/params.yaml").read_text(encoding="utf-8"))
    return PretrainingParams.model_validate({**content, **SMALL, **changes})


def random_vectors(arrays: PaperArrays, dim: int = SMALL["dim"]) -> FloatMatrix:
    """Random vectors of all words."""
    nothing = np.zeros((0, dim), dtype=np.float32)
    return embedding_matrix(Vocabulary(tuple(arrays.words)), [], nothing, dim=dim, seed=1)[0]


def trained(arrays: PaperArrays, **changes: Any) -> TrainedEncoder:
    return train_encoder(arrays, params_of(**changes), random_vectors(arrays))


def weights_of(encoder: TrainedEncoder) -> dict[str, torch.Tensor]:
    return encoder.classifier.model.state_dict()


def test_batches_from_disk_are_those_from_memory(table: pd.DataFrame, arrays: PaperArrays) -> None:
    stored = StoredPapers(arrays, np.arange(len(arrays)), CPU)
    words = Vocabulary(tuple(arrays.words))
    encoded = encode_papers(table[["id", "title", "abstract"]], words, device=CPU, **LENGTHS)
    assert len(stored) == len(encoded) == len(table)
    rows = np.random.default_rng(0).permutation(len(table))[:50]
    for papers in (stored, stored.take(np.arange(len(arrays))), stored.in_memory()):
        batch, expected = papers.batch(rows), encoded.batch(rows)
        assert torch.equal(batch.title_ids, expected.title_ids)
        assert torch.equal(batch.abstract_ids, expected.abstract_ids)
        assert batch.title_ids.dtype == expected.title_ids.dtype
        assert batch.token_counts == expected.token_counts
        assert torch.equal(batch.labels, stored.labels[torch.from_numpy(rows)])
        for text in ("title", "abstract"):
            assert np.array_equal(papers.lengths(text), encoded.lengths(text))
    listed = [set(names.split(",")) for names in table["all_categories"]]
    expected_labels = [[name in names for name in arrays.classes] for names in listed]
    assert stored.labels.tolist() == expected_labels
    assert not stored.labels.any(1).all(), "some papers list only a rare category"
    some = stored.take(rows)
    assert torch.equal(some.batch(np.array([3, 1])).title_ids, stored.batch(rows[[3, 1]]).title_ids)


def test_the_loss_of_categories_is_a_mean_over_labelled_papers() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 1.0]])
    labels = torch.tensor([[True, False, True], [True, False, False], [False, False, False]])
    loss, precision = categories_loss(logits, labels)
    terms = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none").sum(1)
    torch.testing.assert_close(loss, terms[:2].mean())
    assert precision.item() == 0.5
    nothing, none = categories_loss(logits[2:], labels[2:])
    assert (nothing.item(), none.item()) == (0, 0)


def test_the_loss_is_smallest_if_each_title_matches_its_abstract() -> None:
    titles = torch.eye(4)
    loss, in_batch_accuracy = info_nce(titles, titles, 0.1)
    assert loss.item() == pytest.approx(np.log(1 + 3 * np.exp(-10)), rel=1e-3)
    assert in_batch_accuracy.item() == 1
    crossed, none = info_nce(titles, titles.roll(1, 0), 0.1)
    assert none.item() == 0
    assert crossed.item() == pytest.approx(10, rel=1e-3)
    alike, _ = info_nce(torch.ones(4, 1), torch.ones(4, 1), 0.1)
    assert alike.item() == pytest.approx(np.log(4))


def test_both_directions_count() -> None:
    torch.manual_seed(0)
    titles, abstracts = (F.normalize(torch.randn(5, 3), dim=-1) for _ in range(2))
    loss, _ = info_nce(titles, abstracts, 0.5)
    back, _ = info_nce(abstracts, titles, 0.5)
    torch.testing.assert_close(loss, back)


@pytest.mark.parametrize("objectives", [*OBJECTIVES, WITH_PRIMARY])
def test_each_objective_is_learned_alone_and_with_the_other(
    arrays: PaperArrays, objectives: list[str]
) -> None:
    encoder = trained(arrays, objectives=objectives, epochs=6)
    history = encoder.history
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    best, classes = history.best_epoch, encoder.classifier.config.classes
    if "categories" in objectives:
        assert best.score == "precision_at_1"
        shares = StoredPapers(arrays, np.arange(len(arrays)), CPU).labels.float().mean(0)
        assert best.val_accuracy > float(shares.max()) + 0.1, "more than the most common category"
        assert classes == arrays.classes
        likeliest = encoder.predicted.probabilities.argmax(1)
        found = encoder.listed[np.arange(len(likeliest)), likeliest].mean()
        assert found == pytest.approx(best.val_accuracy), "the last model is the best epoch's"
        assert len(encoder.classifier.config.thresholds) == len(classes)
    else:
        assert best.score == "in_batch_accuracy"
        assert best.val_accuracy > 4 / 32, "four times the accuracy of guessing"
        assert classes == []


def test_only_what_the_objectives_need_is_trained(arrays: PaperArrays) -> None:
    changed = {}
    for objectives in OBJECTIVES:
        before = weights_of(trained(arrays, objectives=objectives, epochs=1, learning_rate=1e-12))
        after = weights_of(trained(arrays, objectives=objectives, epochs=1))
        changed[len(objectives), objectives[0]] = {
            name for name, value in after.items() if (value - before[name]).abs().max() > 1e-6
        }
    both = changed[2, "categories"]
    projections = {name for name in both if name.startswith(("title_proj", "abstract_proj"))}
    assert len(projections) == 4
    assert changed[1, "categories"] == both - projections
    assert changed[1, "titles"] > projections
    assert not {name for name in changed[1, "titles"] if name.startswith(("head", "hidden", "pai"))}


def test_the_primary_category_is_the_first_that_a_paper_lists(
    table: pd.DataFrame, arrays: PaperArrays
) -> None:
    first = table["all_categories"].str.split(",").str[0]
    known = [arrays.classes.index(name) if name in arrays.classes else -1 for name in first]
    assert -1 in known
    assert arrays.primary.tolist() == known
    rows = np.array([0, 29, 3, 1])
    primary = StoredPapers(arrays, np.arange(len(arrays)), CPU).batch(rows).primary
    assert primary is not None
    assert primary.tolist() == [known[row] for row in rows]


def test_primary_loss_is_the_mean_over_papers_whose_primary_category_is_known() -> None:
    torch.manual_seed(0)
    logits, primary = torch.randn(4, 3), torch.tensor([2, -1, 0, -1])
    known = F.cross_entropy(logits[[0, 2]], primary[[0, 2]])
    torch.testing.assert_close(primary_loss(logits, primary), known)
    assert primary_loss(logits[[1, 3]], primary[[1, 3]]) == 0


def test_the_primary_category_trains_the_features_but_not_the_head(arrays: PaperArrays) -> None:
    settings = {"epochs": 1, "primary_weight": 50.0, "learning_rate": 1e-4}
    plain = weights_of(trained(arrays, objectives=["categories"], **settings))
    primary = weights_of(trained(arrays, objectives=["categories", "primary"], **settings))
    assert plain.keys() == primary.keys(), "the head for it is not kept"
    assert not torch.equal(plain["hidden.1.weight"], primary["hidden.1.weight"])


def test_the_untrained_model_predicts_the_shares_of_categories(arrays: PaperArrays) -> None:
    encoder = trained(arrays, epochs=1, learning_rate=1e-12)
    train, _ = split(arrays, Settings(validation=SMALL["validation"]), CPU)
    shares = (train.labels.sum(0) + 1) / (len(train) + 2)
    torch.testing.assert_close(
        encoder.classifier.model.head.bias, shares.logit(), rtol=1e-3, atol=1e-3
    )


def test_validation_papers_are_held_back_by_their_ids(arrays: PaperArrays) -> None:
    settings = Settings(validation=0.2)
    train, val = split(arrays, settings, CPU)
    assert not set(train.rows) & set(val.rows)
    unlabelled = set(np.flatnonzero(arrays.label_counts == 0))
    assert set(train.rows) | set(val.rows) | unlabelled == set(range(len(arrays)))
    assert not (set(train.rows) | set(val.rows)) & unlabelled, "nothing to learn from them"
    assert 0.1 < len(val) / len(arrays) < 0.3
    later = replace(arrays, ids=[*arrays.ids[:100], *(f"other.{i}" for i in range(140))])
    _, again = split(later, settings, CPU)
    assert [r for r in again.rows if r < 100] == [r for r in val.rows if r < 100]
    both = split(arrays, replace(settings, objectives=("categories", "titles")), CPU)
    assert set(both[0].rows) & unlabelled, "their titles count"
    assert not set(both[1].rows) & unlabelled, "precision needs labels"
    titles = split(arrays, replace(settings, objectives=("titles",)), CPU)
    assert sum(map(len, titles)) == len(arrays)


def test_papers_without_labels_change_nothing_but_the_titles(arrays: PaperArrays) -> None:
    rows = np.flatnonzero(arrays.label_counts == 0)[:4]
    labelled = np.flatnonzero(arrays.label_counts > 0)[:12]
    stored = StoredPapers(arrays, np.concatenate([labelled, rows]), CPU)
    encoder = trained(arrays, epochs=1)
    device = DeviceConfig(CPU, "fp32")
    for objectives in (("categories",), ("titles",)):
        settings = Settings(objectives=objectives, word_dropout=0.0)
        task = Pretraining(encoder.classifier.model, settings, device)
        task.model.eval()
        few, all_ = (
            task.training_step(stored.batch(np.arange(size))).loss.item() for size in (12, 16)
        )
        assert (few == pytest.approx(all_, rel=1e-5)) == (objectives == ("categories",))


class Killed(Exception):  # noqa: N818
    """The process ended here."""


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    arrays: PaperArrays,
    objectives: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress_module, "ALLOWANCE", 1e9)  # every epoch is saved
    params = params_of(objectives=objectives, epochs=3)

    def kill(after: int) -> Callable[[Epoch], None]:
        def on_epoch(epoch: Epoch) -> None:
            if epoch.epoch >= after:
                raise Killed

        return on_epoch

    vectors = random_vectors(arrays)
    expected = train_encoder(arrays, params, vectors)
    for after in (1, 2):
        with pytest.raises(Killed):
            train_encoder(arrays, params, vectors, on_epoch=kill(after), resume=tmp_path)
    resumed = train_encoder(arrays, params, vectors, resume=tmp_path)
    assert "resuming after epoch 2 of 3\n" in capsys.readouterr().err
    for name, value in weights_of(expected).items():
        assert torch.equal(weights_of(resumed)[name], value), name
    assert resumed.classifier.config == expected.classifier.config
    other_seed = params_of(objectives=objectives, epochs=3, seed=1)
    train_encoder(arrays, other_seed, vectors, resume=tmp_path)
    assert "starting anew: " in capsys.readouterr().err
    other = replace(arrays, digest="another corpus")
    train_encoder(other, params, vectors, resume=tmp_path)
    assert "papers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "few", "message"),
    [
        ({}, {"classes": ["cs.AI"]}, "objectives: categories needs two of them .* found 1"),
        ({}, {"classes": []}, "objectives: categories needs two of them .* found 0"),
        ({"validation": 0.0001}, {}, r"validation: \d+ papers to train on and 0 held back"),
        ({"learning_rate": 10.0, "embedding_rate_scale": 100.0, "epochs": 9}, {}, "diverged"),
    ],
)
def test_what_cannot_be_learned_is_one_line(
    arrays: PaperArrays, changes: dict[str, Any], few: dict[str, Any], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if "diverged" in message:
        monkeypatch.setattr(
            pretraining, "categories_loss", lambda x, _: (x.sum() * torch.inf, x.sum())
        )
    with pytest.raises(UserError, match=message) as caught:
        train_encoder(replace(arrays, **few), params_of(**changes), random_vectors(arrays))
    assert "\n" not in str(caught.value)


def save(encoder: TrainedEncoder, arrays: PaperArrays, folder: Path) -> checkpoint.Classifier:
    """Save as the stage does, and load again."""
    model = encoder.classifier
    checkpoint.save(
        folder, model.model, model.vocabulary, model.config, model.familiarity,
        compact=True, origin=Origin({"papers.csv": 240}, 240), papers=arrays.ids,
    )  # fmt: skip
    return checkpoint.load(folder, device="cpu", precision="fp32")


@pytest.mark.parametrize("rows", [1, weights.LARGE], ids=["table in 8 bits", "table in 16 bits"])
def test_what_is_saved_is_the_model_whose_probabilities_were_calibrated(
    arrays: PaperArrays, table: pd.DataFrame, tmp_path: Path, rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(weights, "LARGE", rows)
    encoder = trained(arrays, epochs=4)
    loaded = save(encoder, arrays, tmp_path)
    assert loaded.model.embedding.weight.abs().max() > 0
    for name, value in weights_of(encoder).items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    _, val = split(arrays, Settings(validation=SMALL["validation"]), CPU)
    texts = table.iloc[val.rows].reset_index(drop=True)[["title", "abstract"]]
    np.testing.assert_allclose(
        loaded.probabilities(texts), encoder.predicted.probabilities, atol=1e-6
    )
    classified = loaded.classify(texts)
    assert set(arrays.classes) <= set(classified.columns)


def test_word_vectors_know_which_words_occur_together(arrays: PaperArrays) -> None:
    params = params_of(vector_epochs=60)
    vectors = vectors_of(arrays, params)
    assert vectors.shape == (len(arrays.words), SMALL["dim"])
    known = vectors[len(SPECIAL) :]
    lengths = np.linalg.norm(known, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-4)
    np.testing.assert_array_equal(vectors, vectors_of(arrays, params))
    words = np.array(arrays.words[len(SPECIAL) :])
    cosines = known @ known.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = words[cosines.argmax(1)]
    of_topics = np.char.startswith(words, "word")
    same = np.array([word[:5] == other[:5] for word, other in zip(words, nearest, strict=True)])
    assert same[of_topics].mean() > 0.9, "word0 to word5 are the topics"


def test_the_encoder_starts_from_its_word_vectors(arrays: PaperArrays) -> None:
    vectors = random_vectors(arrays)
    params = params_of(epochs=1, learning_rate=1e-12)
    table = train_encoder(arrays, params, vectors).classifier.model.state_dict()["embedding.weight"]
    np.testing.assert_allclose(table.numpy(), vectors, atol=0.01)


def test_the_texts_of_papers_are_their_known_words(
    arrays: PaperArrays, table: pd.DataFrame
) -> None:
    texts = Texts(arrays, np.array([3, 0]))
    known = set(arrays.words)
    expected = [
        [word for name in ("title", "abstract")
         for word in table[name][row].split()[: LENGTHS[f"{name}_length"]] if word in known]
        for row in (3, 0)
    ]  # fmt: skip
    for _ in range(2):
        assert list(texts) == expected


def test_exact_predictions_are_those_before_the_weights_are_rounded(
    arrays: PaperArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "LARGE", 1)  # 8 bits for the small table, too
    rounded = trained(arrays, epochs=2)
    assert not np.array_equal(rounded.exact.probabilities, rounded.predicted.probabilities)
    monkeypatch.setattr("arxiv_hybrid.training.encoder._round_weights", lambda _: None)
    exact = trained(arrays, epochs=2)
    for left, right in zip(rounded.exact, exact.predicted, strict=True):
        np.testing.assert_array_equal(left, right)


RECIPES = [
    ("Potato soup", "Peel six potatoes, chop an onion and simmer both in butter. Add stock, cream "
     "and parsley, season with nutmeg, and serve the soup hot with toasted bread."),
    ("Apple pie", "Rub butter into flour, chill the dough and roll it out. Slice apples, sprinkle "
     "them with sugar and cinnamon, cover with pastry and bake until golden."),
    ("Sturm über dem Norden", "Der Sturm hat in der Nacht Bäume entwurzelt und Dächer abgedeckt. "
     "Die Feuerwehr rückte zu hundert Einsätzen aus, verletzt wurde nach Angaben niemand."),
    ("Neuer Bahnhof eröffnet", "Nach sieben Jahren Bauzeit hat die Stadt ihren Bahnhof eröffnet. "
     "Die Kosten stiegen auf das Doppelte, wie der Bürgermeister am Montag sagte."),
]  # fmt: skip


@pytest.mark.parametrize("most", [60_000, 150])
def test_a_pre_trained_model_is_unsure_about_what_is_no_paper(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted on all training papers, or on a part of them."""
    monkeypatch.setattr(encoder_module, "FAMILIAR_PAPERS", most)
    papers = synthetic.generate(papers=500, label_noise=0.05, seed=3)[0].drop_duplicates("id")
    learned, others = papers.head(380), papers.tail(60)
    learned.to_csv(tmp_path / "papers.csv", index=False)
    settings = CorpusSettings(vocabulary=5000, min_freq=2, min_papers=10, **LENGTHS)
    gather([tmp_path / "papers.csv"], [], settings, tmp_path / "papers")
    arrays = load_arrays(tmp_path / "papers")
    model = save(trained(arrays, epochs=1), arrays, tmp_path / "model")
    strange = pd.DataFrame(RECIPES, columns=["title", "abstract"])
    assert model.classify(strange)["unsure"].all()
    assert model.classify(others[["title", "abstract"]])["unsure"].mean() < 0.25
    assert not others["id"].isin(learned["id"]).any(), "the premise"


def test_a_model_without_categories_is_only_a_start(arrays: PaperArrays, tmp_path: Path) -> None:
    model = trained(arrays, objectives=["titles"], epochs=1).classifier
    checkpoint.save(
        tmp_path / "model", model.model, model.vocabulary, model.config,
        compact=True, origin=Origin({"papers.csv": 240}, 240), papers=arrays.ids,
    )  # fmt: skip
    pretrained = load_pretrained(tmp_path / "model")
    assert pretrained.papers == set(arrays.ids)
    with pytest.raises(UserError, match=r"was pre-trained without categories") as caught:
        checkpoint.load(tmp_path / "model")
    assert "\n" not in str(caught.value)
    torch.manual_seed(0)
    started = PooledCNN(vocab_size=len(arrays.words), num_classes=3, **pretrained.arguments)
    load_encoder(started, pretrained, LabelSet(("cs.AI", "cs.CL", "cs.CV")))
    learned = model.model.title_projection.weight
    torch.testing.assert_close(started.title_projection.weight, learned, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "texts: None is not allowed: name a file of papers"),
        ({"texts": []}, "name a file of papers"),
        ({"texts": ["a.json", "a.json"]}, "a file is named twice"),
        ({"leave_out": ["a.csv", ""]}, "a file has no name"),
        ({"until": "2025"}, "expected a month such as '2025-10'"),
        ({"until": "2025-13"}, "expected a month such as '2025-10'"),
        ({"until": 202510}, "expected a month such as '2025-10'"),
        ({"objectives": []}, "objectives: \\[\\] is not allowed"),
        ({"objectives": ["titles", "titles"]}, "an objective is named twice"),
        ({"objectives": ["words"]}, "objectives"),
        ({"objectives": ["primary", "titles"]}, "primary needs categories beside it"),
        ({"kernel_sizes": []}, "kernel_sizes"),
        ({"validation": 0}, "validation: 0 is not allowed"),
        ({"unknown": 1}, "unknown: unknown key"),
    ],
)
def test_mistakes_in_parameters_are_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    content = yaml.safe_load((DEFAULTS / "pretraining/params.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**content, "texts": "a.json", **changes}), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        load_section(path, PretrainingParams)
    assert "\n" not in str(caught.value)
    path.write_text(yaml.safe_dump({**content, "texts": ["a.json", "b.csv"]}), encoding="utf-8")
    params = load_section(path, PretrainingParams)
    assert (params.text_files, params.left_out_files) == (["a.json", "b.csv"], [])
