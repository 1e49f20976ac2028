"""Many ways in which a folder of bound files can be damaged.

Each damage is a name and a function that changes a folder. `file_damages` suit any folder; the
others suit a classifier that `checkpoint.save` wrote. After `RESEALED` damages all digests fit
again, so that only the checks of values can notice them.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.model_config import CONFIG, FAMILIARITY, PAPERS, WEIGHTS, WORDS
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.paper_ids import MOST_BYTES
from arxiv_hybrid.inference.weights import LARGE, SCALE
from arxiv_hybrid.models import registry
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.files import write_json
from arxiv_hybrid.text.vocabulary import Vocabulary

Damage = tuple[str, Callable[[Path], None]]


def file_damages(name: str, other: Path | None = None) -> Iterator[Damage]:
    """Damages of the file `name`; other: a folder of the same kind with other content."""
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        yield (
            f"{name}: bit flipped at {share:.0%}",
            changed(name, lambda raw, s=share: flip(raw, s)),
        )
    yield f"{name}: half", changed(name, lambda raw: raw[: len(raw) // 2])
    yield f"{name}: last byte lost", changed(name, lambda raw: raw[:-1])
    yield f"{name}: one byte more", changed(name, lambda raw: raw + b"\n")
    yield f"{name}: zeros at its end", changed(name, lambda raw: raw[:-64] + bytes(64))
    yield f"{name}: empty", changed(name, lambda _: b"")
    yield f"{name}: missing", lambda folder: (folder / name).unlink()
    yield f"{name}: a folder", replaced(name, Path.mkdir)
    yield f"{name}: a link to itself", replaced(name, lambda path: path.symlink_to(path.name))
    yield f"{name}: a link to nothing", replaced(name, lambda path: path.symlink_to("nothing"))
    yield f"{name}: a pipe", replaced(name, os.mkfifo)
    if other:
        yield f"{name}: of another folder", lambda folder: copied(other / name, folder / name)


def model_damages(other: Path) -> Iterator[Damage]:
    """All damages of a classifier with several labels; other: one with other weights and words."""
    for name in (CONFIG, WEIGHTS, WORDS, FAMILIARITY):
        yield from file_damages(name, other)
    for fields in CHANGED_FIELDS:
        yield f"{CONFIG}: {shown(fields)}", edited(fields)
        yield f"RESEALED {CONFIG}: {shown(fields)}", resealed(edited(fields))
    for field in FIELDS:
        yield f"{CONFIG}: without {field}", edited({field: REMOVED})
    for field in NEEDED_FIELDS:
        yield f"RESEALED {CONFIG}: without {field}", resealed(edited({field: REMOVED}))
    yield f"{CONFIG}: classes swapped", edited_list("classes", lambda names: names[::-1])
    yield f"{CONFIG}: thresholds swapped", edited_list("thresholds", lambda values: values[::-1])
    yield f"{CONFIG}: the digest of the words emptied", edited_digests(WORDS, "")
    yield f"{CONFIG}: no digest of the weights", edited_digests(WEIGHTS, None)
    yield f"{CONFIG}: no digest of its own", edited_digests(digests.OWN, None)
    yield f"{CONFIG}: digests are a list", edited({digests.KEY: []})
    yield f"{CONFIG}: digests are null", edited({digests.KEY: None})
    yield f"{CONFIG}: a list", changed(CONFIG, lambda raw: b"[" + raw + b"]")
    yield f"{CONFIG}: deeply nested", changed(CONFIG, lambda _: b'{"a":' * 100_000)
    yield (
        f"{CONFIG}: a number of 5,000 digits",
        changed(
            CONFIG, lambda raw: raw.replace(b'"title_length": ', b'"title_length": ' + b"1" * 5000)
        ),
    )
    yield f"{WORDS}: words swapped", changed_words(lambda words: [*words[:-2], *words[:-3:-1]])
    for what, change in WORD_CHANGES.items():
        yield f"RESEALED {WORDS}: {what}", resealed(changed_words(change))
    yield f"RESEALED {WORDS}: not UTF-8", resealed(changed(WORDS, lambda raw: raw + b"\xff\n"))
    for name in (WEIGHTS, FAMILIARITY):
        for what, change in TENSOR_CHANGES.items():
            yield f"RESEALED {name}: {what}", resealed(changed_tensors(name, change))


def compact_damages(other: Path) -> Iterator[Damage]:
    """Damages of what only a compact model with an origin and ids of papers has."""
    for name in (WEIGHTS, PAPERS):
        yield from file_damages(name, other)
    for fields in CHANGED_ORIGINS:
        yield f"{CONFIG}: {shown(fields)}", edited(fields)
        yield f"RESEALED {CONFIG}: {shown(fields)}", resealed(edited(fields))
    for what, change in {**TENSOR_CHANGES, **SCALE_CHANGES}.items():
        yield f"RESEALED {WEIGHTS}: {what}", resealed(changed_tensors(WEIGHTS, change))
    for what, content in PAPERS_CHANGES.items():
        yield f"RESEALED {PAPERS}: {what}", resealed(changed(PAPERS, content))


def linear_damages(other: Path) -> Iterator[Damage]:
    """All damages of a linear model with several labels, familiarity and an origin."""
    for name in (CONFIG, WEIGHTS, WORDS, FAMILIARITY):
        yield from file_damages(name, other)
    for fields in [*LINEAR_FIELDS, *CHANGED_ORIGINS]:
        yield f"{CONFIG}: {shown(fields)}", edited(fields)
        yield f"RESEALED {CONFIG}: {shown(fields)}", resealed(edited(fields))
    for field in ("model", "classes", "link", "tokens", "multi_label", "thresholds"):
        yield f"RESEALED {CONFIG}: without {field}", resealed(edited({field: REMOVED}))
    yield f"{CONFIG}: classes swapped", edited_list("classes", lambda names: names[::-1])
    yield f"{CONFIG}: digests are null", edited({digests.KEY: None})
    yield f"{CONFIG}: no digest of the weights", edited_digests(WEIGHTS, None)
    for what, change in WORD_CHANGES.items():
        yield f"RESEALED {WORDS}: {what}", resealed(changed_words(change))
    yield f"RESEALED {WORDS}: not UTF-8", resealed(changed(WORDS, lambda raw: raw + b"\xff\n"))
    for what, tensors in {**TENSOR_CHANGES, **LINEAR_TENSORS}.items():
        yield f"RESEALED {WEIGHTS}: {what}", resealed(changed_tensors(WEIGHTS, tensors))
    for what, change in TENSOR_CHANGES.items():
        yield f"RESEALED {FAMILIARITY}: {what}", resealed(changed_tensors(FAMILIARITY, change))


REMOVED = object()
FIELDS = ("model", "arguments", "classes", "title_length", "abstract_length", "temperature",
          "multi_label", "biases", "thresholds", "titles")  # fmt: skip
NEEDED_FIELDS = ("model", "arguments", "classes", "title_length", "abstract_length", "biases",
                 "thresholds")  # fmt: skip
CHANGED_FIELDS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"temperature": "warm"},
    {"temperature": None},
    {"temperature": True},
    {"classes": ["a", "a", "c"]},
    {"classes": ["a", "", "c"]},
    {"classes": ["a", "b"]},
    {"classes": ["a", "b", "c", "d"]},
    {"classes": ["a", "b", 3]},
    {"classes": ["a", "b", "unsure"]},
    {"classes": "abc"},
    {"classes": {}},
    {"title_length": 0},
    {"abstract_length": -1},
    {"abstract_length": 10**12},
    {"title_length": 2.5},
    {"multi_label": "yes"},
    {"multi_label": False},
    {"biases": [0.0, 0.0]},
    {"biases": [0.0, float("nan"), 0.0]},
    {"biases": None},
    {"thresholds": [0.5, 0.5, 1.5]},
    {"thresholds": [0.5, True, 0.5]},
    {"titles": {"z": "Unknown"}},
    {"titles": {"a": 1}},
    {"titles": []},
    {"model": "v9"},
    {"model": "v5"},
    {"model": None},
    {"arguments": None},
    {"arguments.vocab_size": 10**12},
    {"arguments.vocab_size": 4},
    {"arguments.lstm_hidden": 10**6},
    {"arguments.num_filters": 0},
    {"arguments.num_filters": "8"},
    {"arguments.num_classes": 2},
    {"arguments.embed_dim": True},
    {"arguments.dropout": 1.5},
    {"arguments.dropout": float("nan")},
    {"arguments.attention": False},
    {"arguments.unheard": 1},
    {"unheard": 1},
]
LINEAR_FIELDS: list[dict[str, Any]] = [
    {"classes": ["a", "a", "c"]},
    {"classes": ["a", "b"]},
    {"classes": ["a", "b", "c", "d"]},
    {"classes": ["a", "b", "unsure"]},
    {"classes": []},
    {"classes": "abc"},
    {"classes": None},
    {"link": "softmax"},
    {"link": "tanh"},
    {"link": ["sigmoid"]},
    {"link": None},
    {"tokens": "(a+)+$"},
    {"tokens": None},
    {"multi_label": "yes"},
    {"multi_label": False},
    {"thresholds": [0.5, 0.5, 1.5]},
    {"thresholds": [0.5, True, 0.5]},
    {"thresholds": [0.5]},
    {"thresholds": None},
    {"titles": {"z": "Unknown"}},
    {"titles": {"a": 1}},
    {"titles": []},
    {"model": "v1"},
    {"model": "baseline"},
    {"model": ["linear"]},
    {"model": None},
    {"temperature": 0.5},
    {"unheard": 1},
]
WORD_CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "a word twice": lambda words: [*words[:-1], words[-2]],
    "a word less": lambda words: words[:-1],
    "a word more": lambda words: [*words, "more"],
    "special words swapped": lambda words: [words[1], words[0], *words[2:]],
    "none": lambda _: [],
}
CHANGED_ORIGINS: list[dict[str, Any]] = [
    {"origin": None},
    {"origin": []},
    {"origin": "a.csv"},
    {"origin.papers": "3"},
    {"origin.papers": -1},
    {"origin.papers": True},
    {"origin.sources": None},
    {"origin.sources": {"a": 1.5}},
    {"origin.sources": {"a\x1b[31m": 1}},
    {"origin.first_month": "2025-13"},
    {"origin.first_month": "2025-12"},
    {"origin.last_month": 202511},
    {"origin.trained": "2025-02-30"},
    {"origin.trained": None},
    {"origin.parent": ["v5"]},
    {"origin.parent": "x" * 10_000},
    {"origin.task": "guessed"},
    {"origin.unheard": 1},
]
Tensors = dict[str, torch.Tensor]
TABLE = "embedding.weight"
SCALE_CHANGES: dict[str, Callable[[Tensors], Tensors]] = {
    "no scale": lambda tensors: {k: v for k, v in tensors.items() if k != TABLE + SCALE},
    "no table": lambda tensors: {k: v for k, v in tensors.items() if k != TABLE},
    "a scale too many": lambda tensors: {**tensors, "head.1.weight" + SCALE: torch.ones(3).half()},
    "scale of another shape": lambda tensors: scaled(tensors, lambda scale: scale[:, None]),
    "scale too short": lambda tensors: scaled(tensors, lambda scale: scale[:-1]),
    "scale in 32 bits": lambda tensors: scaled(tensors, lambda scale: scale.float()),
    "scale negative": lambda tensors: scaled(tensors, lambda scale: -scale),
    "scale zero": lambda tensors: scaled(tensors, torch.zeros_like),
    "scale NaN": lambda tensors: scaled(tensors, lambda scale: scale * torch.nan),
    "scale infinite": lambda tensors: scaled(tensors, lambda scale: scale * torch.inf),
    "table with more rows": lambda tensors: tensors | {TABLE: tensors[TABLE].repeat(2, 1)},
    "table and scale with more rows": lambda tensors: tensors | {
        TABLE: tensors[TABLE].repeat(2, 1), TABLE + SCALE: tensors[TABLE + SCALE].repeat(2)},
    "table wider": lambda tensors: tensors | {TABLE: tensors[TABLE].repeat(1, 2)},
    "table in 16 bits": lambda tensors: tensors | {TABLE: tensors[TABLE].short()},
}  # fmt: skip
PAPERS_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"2511.00001\n",
    "packed text": lambda raw: raw[:4] + lzma.compress(b"2511.00001\n" * 9),
    "packed zeros": lambda raw: raw[:4] + lzma.compress(bytes(160)),
    "huge when unpacked": lambda raw: raw[:4] + lzma.compress(bytes(MOST_BYTES + 1), preset=0),
    "more ids than there are": lambda raw: raw[:4] + lzma.compress(b"\xff" * 16),
}
TENSOR_CHANGES: dict[str, Callable[[Tensors], Tensors]] = {
    "NaN": lambda tensors: filled(tensors, torch.nan),
    "infinite": lambda tensors: filled(tensors, -torch.inf),
    "one tensor less": lambda tensors: dict(list(tensors.items())[1:]),
    "one tensor more": lambda tensors: {**tensors, "more": torch.zeros(1)},
    "another shape": lambda tensors: {
        name: torch.cat([value, value]) if value.dim() else value for name, value in tensors.items()
    },
    "none": lambda _: {},
}


LINEAR_TENSORS: dict[str, Callable[[Tensors], Tensors]] = {
    "more columns counted": lambda tensors: plus(tensors, "counts", [0, 0, 0, 0, 0, 0, 1]),
    "counted in another column": lambda tensors: plus(tensors, "counts", [0, 0, 0, 3, -3]),
    "counts in 32 bits": lambda tensors: cast(tensors, "counts", torch.int32),
    "classes in 64 bits": lambda tensors: cast(tensors, "classes", torch.int64),
    "a class that does not exist": lambda tensors: plus(tensors, "classes", [0] * 5 + [3]),
    "a class twice": lambda tensors: tensors | {"classes": tensors["classes"] * 0},
    "weights are integers": lambda tensors: cast(tensors, "factors", torch.int32),
    "fewer weights": lambda tensors: tensors | {"factors": tensors["factors"][:-1]},
    "fewer biases": lambda tensors: tensors | {"biases": tensors["biases"][:-1]},
    "biases in 64 bits": lambda tensors: cast(tensors, "biases", torch.float64),
    "a pair of no word": lambda tensors: plus(tensors, "pairs", [0, 0, 0, 0, 0, 99]),
    "a pair of a special word": lambda tensors: plus(tensors, "pairs", [-1]),
    "pairs fall": lambda tensors: tensors | {"pairs": tensors["pairs"].flip(0)},
    "a pair twice": lambda tensors: tensors | {"pairs": tensors["pairs"][[0, 0, 2]]},
    "pairs of three": lambda tensors: tensors | {"pairs": tensors["pairs"].reshape(2, 3)},
    "pairs in 64 bits": lambda tensors: cast(tensors, "pairs", torch.int64),
    "idf zero": lambda tensors: tensors | {"idf": tensors["idf"] * 0},
    "idf negative": lambda tensors: tensors | {"idf": -tensors["idf"]},
    "idf in 64 bits": lambda tensors: cast(tensors, "idf", torch.float64),
    "idf too short": lambda tensors: tensors | {"idf": tensors["idf"][:-1]},
    "a weight in 8 bits": lambda tensors: tensors | {"factors": tensors["factors"][:, None].char()},
}


def plus(tensors: Tensors, name: str, difference: list[int]) -> Tensors:
    """The tensors with other values at the start of one."""
    changed = tensors[name].to(torch.int64).flatten()
    changed[: len(difference)] += torch.tensor(difference)
    return {**tensors, name: changed.reshape(tensors[name].shape).to(tensors[name].dtype)}


def cast(tensors: Tensors, name: str, dtype: torch.dtype) -> Tensors:
    return {**tensors, name: tensors[name].to(dtype)}


def flip(raw: bytes, share: float) -> bytes:
    """Flip one bit of the byte at this share of the length."""
    place = round(share * (len(raw) - 1))
    return raw[:place] + bytes([raw[place] ^ 1 << place % 7]) + raw[place + 1 :]


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def replaced(name: str, create: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        create(folder / name)

    return damage


def copied(source: Path, target: Path) -> None:
    assert source.read_bytes() != target.read_bytes(), "the premise: another content"
    shutil.copyfile(source, target)


def edited(fields: dict[str, Any]) -> Callable[[Path], None]:
    """Set fields of the configuration, as `a.b` those of a nested one; the digests stay."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        for key, value in fields.items():
            *parents, last = key.split(".")
            inner = content
            for parent in parents:
                inner = inner[parent]
            if value is REMOVED:
                del inner[last]
            else:
                inner[last] = value
        (folder / CONFIG).write_text(json.dumps(content, indent=2, sort_keys=True))

    return damage


def edited_list(field: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / CONFIG).read_text())[field]
        assert change(values) != values, "the premise"
        edited({field: change(values)})(folder)

    return damage


def edited_digests(name: str, value: str | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        held = json.loads((folder / CONFIG).read_text())[digests.KEY]
        held = {key: other for key, other in held.items() if key != name}
        edited({digests.KEY: held if value is None else {**held, name: value}})(folder)

    return damage


def changed_words(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        words = change((folder / WORDS).read_text().splitlines())
        (folder / WORDS).write_text("".join(f"{word}\n" for word in words))

    return damage


def filled(tensors: Tensors, value: float) -> Tensors:
    """The tensors with `value` as the last element of the largest one that can hold it."""
    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    name = max(floats, key=lambda name: tensors[name].numel())
    damaged = tensors[name].clone()
    damaged.view(-1)[-1] = value
    return {**tensors, name: damaged}


def changed_tensors(name: str, change: Callable[[Tensors], Tensors]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = {key: value.clone() for key, value in load_file(folder / name).items()}
        save_file(change(tensors), folder / name)

    return damage


def scaled(tensors: Tensors, change: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    return {**tensors, TABLE + SCALE: change(tensors[TABLE + SCALE]).contiguous()}


def resealed(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same damage, after which all digests fit again."""

    def both(folder: Path) -> None:
        damage(folder)
        content = json.loads((folder / CONFIG).read_text())
        bound = [folder / name for name in content[digests.KEY] if name != digests.OWN]
        # not `write_json` alone: it writes null for NaN
        write_json(folder / CONFIG, {}, bind=bound)
        held = json.loads((folder / CONFIG).read_text())[digests.KEY]
        content[digests.KEY] = {**held, digests.OWN: digests.BLANK}
        (folder / CONFIG).write_text(json.dumps(content, indent=2, sort_keys=True))
        digests.seal(folder / CONFIG)

    return both


def shown(fields: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in fields.items())


def save(folder: Path, seed: int, words: tuple[str, ...], *, compact: bool = False) -> None:
    """An untrained v1 of three classes, several of which may apply, with familiarity.

    compact: with so many words that its vectors are integers, an origin, and ids of papers.
    """
    torch.manual_seed(seed)
    words = (*words, *(f"w{number}" for number in range(LARGE - 6))) if compact else words
    arguments = {"vocab_size": 2 + len(words), "embed_dim": 8, "num_classes": 3, "num_filters": 4,
                 "lstm_hidden": 4, "dropout": 0.5, "attention": True}  # fmt: skip
    config = checkpoint.ModelConfig(
        "v1", arguments, ["a", "b", "c"], 12, 40, 0.5 + seed, multi_label=True,
        biases=[0.1, 0.2, 0.3], thresholds=[0.4, 0.5, 0.6], titles={"a": "First"},
    )  # fmt: skip
    size = 2 + len(words)
    known = Familiarity(
        idf=np.full(size, 1 + seed, np.float32), means=np.full((size, 3), 0.4, np.float32),
        unknown=3.0, curve=np.array([[4, 8], [0.5, 0.6], [0.1, 0.1]], np.float32), threshold=-9.0,
    )  # fmt: skip
    vocabulary = Vocabulary(("<PAD>", "<UNK>", *words))
    ids = [f"2511.{number:05}" for number in range(1, 40, seed + 1)]
    origin = Origin({"a.csv": len(ids)}, len(ids), "2025-11", "2025-11", "2026-01-02")
    more: dict[str, Any] = {"compact": True, "origin": origin, "papers": ids} if compact else {}
    checkpoint.save(folder, registry.build("v1", **arguments), vocabulary, config, known, **more)
