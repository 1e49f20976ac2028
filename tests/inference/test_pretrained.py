"""A pre-trained encoder is a classifier's folder with an origin and the ids of its papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from damaged_models import REMOVED, edited, resealed

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import PAPERS
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.inference.weights import LARGE
from arxiv_hybrid.models import registry
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary

WORDS = Vocabulary(("<PAD>", "<UNK>", *(f"w{number}" for number in range(LARGE))))
WIDTHS = {"embed_dim": 8, "num_filters": 4, "hidden": 8}
ORIGIN = Origin({"a.json": 2}, 2, "2025-01", "2025-01", "2026-01-02", task="pre-trained")
IDS = ["2501.00001", "math/0309136"]


def save(folder: Path, *, name: str = "v6", **options: Any) -> checkpoint.Classifier:
    torch.manual_seed(0)
    widths = WIDTHS if name == "v6" else {"embed_dim": 8, "num_filters": 4, "lstm_hidden": 4}
    arguments = {"vocab_size": len(WORDS), "num_classes": 2, "dropout": 0.1, **widths}
    config = checkpoint.ModelConfig(name, arguments, ["a", "b"], 30, 300)
    model = registry.build(name, **arguments)
    checkpoint.save(folder, model, WORDS, config, **options)
    return checkpoint.Classifier(
        model.eval(), WORDS, config, checkpoint.choose_device("cpu", "fp32")
    )


ALL: dict[str, Any] = {"origin": ORIGIN, "papers": IDS, "compact": True}


def test_an_encoder_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = save(tmp_path, **ALL)
    encoder = load_pretrained(tmp_path)
    assert encoder.vocabulary == WORDS
    assert encoder.arguments == WIDTHS, "without what a classifier decides itself"
    assert (encoder.papers, encoder.origin) == (frozenset(IDS), ORIGIN)
    state = saved.model.state_dict()
    assert encoder.weights.keys() == state.keys()
    for name, value in encoder.weights.items():
        assert value.dtype == np.float32
        largest = max(float(state[name].abs().max()), 1e-6)
        np.testing.assert_allclose(value, state[name].numpy(), atol=largest / 200, err_msg=name)
    words, vectors = encoder.word_vectors()
    assert (len(words), vectors.shape) == (LARGE, (LARGE, 8))
    assert repr(encoder) == (
        f"<Pretrained: {LARGE + 2:,} words, pre-trained on 2 papers of a.json, 2025-01>"
    )


def test_a_compact_model_answers_nearly_as_the_exact_one(tmp_path: Path) -> None:
    exact = save(tmp_path / "compact", **ALL)
    save(tmp_path / "exact", origin=ORIGIN, papers=IDS)
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, LARGE, 40)) for _ in range(60)]
    papers = pd.DataFrame({"title": texts[:30], "abstract": texts[30:]})
    expected = exact.probabilities(papers)
    same = checkpoint.load(tmp_path / "exact", device="cpu", precision="fp32")
    assert torch.equal(same.probabilities(papers), expected)
    compact = checkpoint.load(tmp_path / "compact", device="cpu", precision="fp32")
    assert compact.origin == ORIGIN
    torch.testing.assert_close(compact.probabilities(papers), expected, atol=0.02, rtol=0)
    sizes = [sum(p.stat().st_size for p in (tmp_path / name).iterdir() if p.suffix != ".txt")
             for name in ("compact", "exact")]  # fmt: skip
    assert sizes[0] < 0.45 * sizes[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**ALL, "papers": None}, f"{PAPERS}: not found \\(pretrained\\)"),
        ({**ALL, "origin": None}, "not a valid encoder"),
        ({**ALL, "name": "v5"}, "describes another model than v6"),
        ({**ALL, "name": "v1"}, "describes another model than v6"),
    ],
)
def test_models_that_are_no_encoders_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save(tmp_path, **options)
    with pytest.raises(UserError, match=message):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"origin": REMOVED}, {"origin.papers": "2"}, {"unheard": 1}, {"arguments": []},
     {"arguments.hidden": -1}, {"classes": ["a"]}, {"arguments.vocab_size": 0}],
)  # fmt: skip
def test_damaged_values_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path, **ALL)
    resealed(edited(change))(tmp_path)
    with pytest.raises(UserError, match="not a valid encoder"):
        load_pretrained(tmp_path)


def test_held_out_papers_are_found_in_any_form_of_storage(tmp_path: Path) -> None:
    save(tmp_path, **ALL)
    encoder = load_pretrained(tmp_path)
    encoder.check_held_out({"2501.00002"})
    for identifier in IDS:
        with pytest.raises(UserError, match=f"such as {identifier}; ") as caught:
            encoder.check_held_out({identifier, "2501.00002"})
        message = str(caught.value)
        assert "\n" not in message
        assert "set pretrained: null to train without it, or pre-train with leave_out" in message


@pytest.mark.parametrize(
    ("learned", "held_out"),
    [("2501.00010", "2501.0001"), ("0704.1230", "704.123"), ("1603.00800", "1603.008")],
)
def test_a_held_out_paper_is_found_by_an_id_that_lost_its_zeros(
    learned: str, held_out: str, tmp_path: Path
) -> None:
    save(tmp_path, **{**ALL, "papers": [learned]})
    with pytest.raises(UserError, match=f"such as {learned}; "):
        load_pretrained(tmp_path).check_held_out({held_out})
