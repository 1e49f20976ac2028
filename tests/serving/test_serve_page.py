"""The page for people in a real browser: what it shows, asks for, and never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import torch
from chromium import COMMAND, Chromium
from linear_models import linear_model
from running_server import running

from arxiv_hybrid.__main__ import SURE_THRESHOLD
from arxiv_hybrid.commands.predict import _likely
from arxiv_hybrid.evaluation.occlusion import occlusion
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models import registry
from arxiv_hybrid.serving.explanation import SURE, explanation
from arxiv_hybrid.text.vocabulary import Vocabulary

in_a_browser = pytest.mark.skipif(COMMAND is None, reason="chromium is not installed")
MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
TITLE, ABSTRACT = "Deep learning & speech", f"We study deep words. {MARKUP} Über alles"
ANSWERED = """new Promise((done, fail) => {
  const due = Date.now() + 30000;
  const look = () => {
    if (!byId("result").hidden || !byId("problem").hidden) done(true);
    else if (Date.now() > due) fail(new Error("no answer"));
    else setTimeout(look, 10);
  };
  look();
})"""

STRONGEST = """[...document.querySelectorAll("#result .text .w")]
  .find((word) => word.style.getPropertyValue("--shade") == 1).textContent"""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """An untrained model whose classes have names that are markup."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page") / "model"
    names = ["cs.AI", "cs.CL", "<b>x</b>", *(f"math.{n}" for n in range(9))]
    words = ("<PAD>", "<UNK>", "deep", "learning", "speech", "we", "study", "words", "img", "ber")
    arguments = {"vocab_size": len(words), "embed_dim": 8, "num_classes": len(names),
                 "num_filters": 4, "lstm_hidden": 4}  # fmt: skip
    config = checkpoint.ModelConfig(
        "v1", arguments, names, 30, 300, 1.0, titles={"cs.AI": "Artificial <i>Intelligence</i>"}
    )
    network = registry.build("v1", **arguments)
    origin = Origin({"synthetic": 10}, 10)
    checkpoint.save(folder, network, Vocabulary(words), config, origin=origin)
    return checkpoint.load(folder)


@pytest.fixture(scope="module")
def root(classifier: Classifier) -> Iterator[str]:
    with running(classifier) as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


def ask(root: str, content: Any) -> requests.Response:
    body = content if isinstance(content, bytes) else json.dumps(content)
    return requests.post(f"{root}/explain", body, timeout=60)


def test_an_explanation_is_the_prediction_and_its_words(root: str, classifier: Classifier) -> None:
    answer = ask(root, {"title": TITLE, "abstract": ABSTRACT}).json()
    result = occlusion(classifier, TITLE, ABSTRACT)
    paper = pd.DataFrame({"title": [TITLE], "abstract": [ABSTRACT]})
    direct = classifier.classify(paper).iloc[0]
    assert answer["category"] == direct["category"] == answer["classes"][0]["name"]
    assert [entry["name"] for entry in answer["classes"]][:3] == list(_likely(result))[:3]
    for entry in answer["classes"]:
        assert entry["probability"] == pytest.approx(direct[entry["name"]], abs=1e-6)
    assert answer["others"]["count"] == 12 - len(answer["classes"])
    assert SURE == SURE_THRESHOLD
    assert answer["doubts"] == [f"the likeliest category is below {SURE:.0%}"]
    assert (answer["known_words"], answer["read_words"]) == classifier.known_words(paper)
    weights = {}
    for name, text in (("title", TITLE), ("abstract", ABSTRACT)):
        assert "".join(piece for piece, _ in answer[name]) == text, "nothing is lost"
        weights |= {piece.lower(): weight for piece, weight in answer[name] if weight is not None}
    drops = {word: weight * answer["largest_drop"] for word, weight in weights.items()}
    assert drops == pytest.approx(dict(result.drops), abs=1e-6)
    assert max(abs(weight) for weight in weights.values()) == 1


def test_words_beyond_what_the_model_reads_have_no_weight(classifier: Classifier) -> None:
    content = explanation(classifier, "deep " * 31, "")
    weights = [weight for piece, weight in content["title"] if piece.strip()]
    assert weights[:-1].count(None) == 0
    assert content["title"][-1][1] is None
    longer = explanation(classifier, "İstanbul deep", "")  # lower-casing makes it longer
    assert [piece for piece, weight in longer["title"] if weight is not None] == ["deep"]


@pytest.mark.parametrize("several", [False, True])
def test_a_linear_model_is_explained_like_a_network(several: bool, tmp_path: Path) -> None:
    linear_model(multi_label=several).save(tmp_path)
    model = checkpoint.load(tmp_path)
    title, abstract = "Deep-learning words", "Speech of 3 Wörter " * 5
    with running(tmp_path) as (url, _):
        answer = ask(url, {"title": title, "abstract": abstract}).json()
        body = json.dumps({"inputs": [{"title": title, "abstract": abstract}]})
        headers = {"Content-Type": "application/json"}
        (row,) = requests.post(f"{url}/invocations", body, headers=headers, timeout=60).json()[
            "predictions"
        ]
    direct = model.classify([(title, abstract)]).iloc[0]
    assert list(row) == list(direct.index)
    assert row == pytest.approx(direct.to_dict(), abs=1e-9)
    assert answer["category"] == direct["category"]
    weights = {
        piece.lower(): w
        for part in ("title", "abstract")
        for piece, w in answer[part]
        if w is not None
    }
    assert weights.keys() == dict(occlusion(model, title, abstract).drops).keys()
    assert {"deep", "learning", "words", "speech", "of"} == weights.keys()
    assert "".join(piece for piece, _ in answer["abstract"]) == abstract


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        ({"title": "", "abstract": ""}, 400, "at least one word"),
        ({"title": "Ü中文", "abstract": "!?"}, 400, "at least one word"),
        ({"title": "a"}, 400, "expected"),
        ({"title": 1, "abstract": "a"}, 400, "expected"),
        ([], 400, "expected"),
        (b"{", 400, "JSON"),
        ({"title": "a" * 70_000, "abstract": ""}, 413, "bytes"),
    ],
)
def test_what_cannot_be_explained_is_said(
    root: str, content: Any, status: int, reason: str
) -> None:
    answer = ask(root, content)
    assert answer.status_code == status
    assert reason in answer.json()["message"]


def test_the_policy_allows_nothing_but_the_page_itself(root: str) -> None:
    answer = requests.get(root, timeout=60)
    policy = dict(part.strip().split(" ", 1) for part in
                  answer.headers["Content-Security-Policy"].split(";"))  # fmt: skip
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert policy["script-src"].startswith("'sha256-")
    assert "<b>x</b>" not in answer.text
    assert (
        '<p class="warn">Model: tested, v1 with 12 classes, trained on 10 generated' in answer.text
    )
    assert "http://" not in answer.text
    assert "https://" not in answer.text


@in_a_browser
def test_typing_and_the_keyboard_suffice(root: str, browser: Chromium) -> None:
    browser.requests.clear()
    browser.events.clear()
    browser.open(f"{root}/")
    browser.press("Tab")
    assert browser.run("document.activeElement.id") == "title"
    browser.type(TITLE)
    browser.press("Tab")
    browser.type(ABSTRACT)
    browser.press("Enter", modifiers=2)
    browser.run(ANSWERED)
    shown = ask(root, {"title": TITLE, "abstract": ABSTRACT}).json()
    assert browser.run("byId('category').textContent") == shown["category"]
    assert shown["category"] in browser.run("byId('status').textContent")
    assert browser.run("byId('doubts').hidden") is False
    assert "Unsure: the likeliest category" in browser.run("byId('doubts').textContent")
    items = browser.run("[...document.querySelectorAll('#classes li')].map((i) => i.textContent)")
    assert items == [
        f"{entry['name']} {entry['title']}".strip()
        + f"{entry['probability']:.1%}".replace("%", "\xa0%")
        for entry in shown["classes"]
    ]
    widths = browser.run("[...document.querySelectorAll('#classes .track span')].map((bar) => "
                         "bar.offsetWidth / bar.parentNode.offsetWidth)")  # fmt: skip
    np.testing.assert_allclose(widths, [e["probability"] for e in shown["classes"]], atol=0.01)
    assert browser.run("byId('read-title').textContent") == TITLE
    assert browser.run("byId('read-abstract').textContent") == ABSTRACT
    pieces = [piece for part in ("title", "abstract") for piece in shown[part]]
    assert browser.run(STRONGEST) == next(p for p, weight in pieces if weight and abs(weight) == 1)
    assert browser.run("document.querySelector('#result :is(img, script, b)')") is None
    assert browser.run("document.title") == "Classify a paper"
    asked = {url for url in browser.requests if not url.startswith(("data:", "about:"))}
    assert asked == {f"{root}/", f"{root}/explain"}
    bad = ("Log.entryAdded", "Runtime.exceptionThrown")
    problems = [event for event in browser.events if event.get("method") in bad]
    assert problems == [], "no error, and nothing that the policy had to stop"


@in_a_browser
def test_a_link_can_hold_a_paper_and_mistakes_are_said(root: str, browser: Chromium) -> None:
    browser.open(f"{root}/#title=deep%20speech%20%3Cb%3E&abstract=words")
    browser.run(ANSWERED)
    assert browser.run("byId('title').value") == "deep speech <b>"
    assert browser.run("byId('result').hidden") is False
    browser.run("byId('title').value = ''; byId('abstract').value = '!'; byId('classify').click()")
    browser.run(ANSWERED.replace('!byId("result").hidden || ', ""))
    assert "at least one word" in browser.run("byId('problem').textContent")
    assert browser.run("byId('result').hidden") is True
    assert browser.run("byId('classify').disabled") is False


@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_in_light_and_dark(
    width: int, dark: bool, root: str, browser: Chromium
) -> None:
    browser.emulate(width, dark=dark)
    browser.open(f"{root}/#title=deep&abstract={'pneumonoultramicroscopic' * 9}")
    browser.run(ANSWERED)
    assert browser.run("document.documentElement.scrollWidth") <= width
    red = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 128) == dark
    colour = "getComputedStyle(document.querySelector('#classes .track{}')).backgroundColor"
    assert browser.run(f"{colour.format(' span')} != {colour.format('')}"), "bars are seen"
    assert browser.run(colour.format(" span")) != "rgba(0, 0, 0, 0)"
    fields = "[...document.querySelectorAll('input, textarea')]"
    assert browser.run(f"{fields}.every((field) => field.labels.length == 1)")
    assert browser.run("byId('status').getAttribute('aria-live')") == "polite"
