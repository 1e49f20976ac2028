"""Vectors of papers, and the nearest papers of a library by them: exact search, no index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from numpy.lib import format as npy

from arxiv_hybrid.inference.checkpoint import Classifier, TextClassifier
from arxiv_hybrid.inference.encoding import EncodedPapers, inference_batch, sorted_batches
from arxiv_hybrid.inference.texts import TEXTS
from arxiv_hybrid.ops import known_token_counts
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic, read_bound, write_json
from arxiv_hybrid.text.vocabulary import PAD, UNK

BLOCK = 1 << 14  # vectors multiplied at a time
_LEAST_NORM = 1e-6

Floats = npt.NDArray[np.float32]


@torch.inference_mode()
def paper_vectors(classifier: TextClassifier, papers: pd.DataFrame) -> Floats:
    """Unit vectors (N, D) of papers: the mean of the vectors of title and abstract.

    A text without a known word does not count; a paper without any has a vector of zeros.
    Raises UserError if the model has no vectors of texts, or a text is not a string.
    """
    if not (isinstance(classifier, Classifier) and hasattr(classifier.model, "text_vectors")):
        raise UserError(
            f"a {classifier.kind} has no vectors of papers; use the shipped model or "
            "another v6 (--model)"
        )
    model = classifier.model
    encoded = classifier.encode(papers[list(TEXTS)])
    device = encoded.labels.device
    known = [_has_known_words(ids).to(device) for ids in (encoded.title_ids, encoded.abstract_ids)]
    parts: list[torch.Tensor] = []
    orders: list[torch.Tensor] = []
    for rows in sorted_batches(encoded.lengths(model.bucket_by), inference_batch(device)):
        order = torch.from_numpy(rows).to(device)
        titles, abstracts = _text_vectors(classifier, encoded, rows)
        both = titles * known[0][order, None] + abstracts * known[1][order, None]
        parts.append(both / both.norm(dim=1, keepdim=True).clamp(min=_LEAST_NORM))
        orders.append(order)
    if not parts:
        return np.zeros((0, 0), np.float32)
    vectors = torch.cat(parts)
    vectors = torch.empty_like(vectors).index_copy_(0, torch.cat(orders), vectors).cpu()
    if not vectors.isfinite().all():
        raise UserError("the model computes vectors that are not finite: its weights are damaged")
    result: Floats = vectors.numpy()
    return result


def _text_vectors(
    classifier: Classifier, papers: EncodedPapers, rows: npt.NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of the titles and the abstracts of some papers, in float32."""
    batch, model = papers.batch(rows), classifier.model.eval()
    with classifier.device_config.autocast(), known_token_counts(*batch.token_counts):
        titles, abstracts = model.text_vectors(batch.title_ids, batch.abstract_ids)  # type: ignore[operator]
    return titles.float(), abstracts.float()


def _has_known_words(ids: torch.Tensor) -> torch.Tensor:
    return ((ids != PAD) & (ids != UNK)).any(1)


def nearest(vectors: Floats, query: Floats, top: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Rows of the `top` largest products of vectors (N, D) with query (D,), and the products.

    The largest come first, of equal ones the first row.
    """
    products = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        np.matmul(vectors[start : start + BLOCK], query, out=products[start : start + BLOCK])
    if top < len(products):
        least = np.partition(products, len(products) - top)[len(products) - top]
        rows = np.flatnonzero(products >= least)
    else:
        rows = np.arange(len(products))
    rows = rows[np.argsort(-products[rows], kind="stable")][:top]
    return rows, products[rows]


class Match(NamedTuple):
    """A paper of a library: its similarity, -1 to 1, its row from 0, its id, if any, its title."""

    similarity: float
    row: int
    id: str
    title: str


class Nearest:
    """The papers most similar to one, of a library that is read chunk by chunk."""

    def __init__(self, query: Floats, top: int) -> None:
        """query (D,): the vector of the paper. top: how many to keep."""
        self.query, self.top = query, top
        self.papers = 0
        self.matches: list[Match] = []

    def add(self, papers: pd.DataFrame, vectors: Floats) -> None:
        """Compare the next papers, by their vectors (N, D)."""
        rows, products = nearest(vectors, self.query, self.top)
        found = [
            Match(float(product), self.papers + int(row), *_id_and_title(papers, int(row)))
            for row, product in zip(rows, products, strict=True)
        ]
        self.papers += len(papers)
        ranked = sorted([*self.matches, *found], key=lambda match: (-match.similarity, match.row))
        self.matches = ranked[: self.top]


def _id_and_title(papers: pd.DataFrame, row: int) -> tuple[str, str]:
    return papers["id"].iloc[row] if "id" in papers else "", papers["title"].iloc[row]


class LibraryDigest:
    """The SHA-256 of the texts of papers, in their order, whatever file holds them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, papers: pd.DataFrame) -> None:
        """Take the next papers in."""
        for text in zip(papers["title"], papers["abstract"], strict=True):
            for part in text:
                content = part.encode()
                self._hash.update(len(content).to_bytes(8, "little") + content)

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


@dataclass
class VectorWriter:
    """Writes vectors to a .npy file as they come; see `writing`."""

    file: IO[bytes]
    rows: int = 0
    width: int = 0

    def add(self, vectors: Floats) -> None:
        """Append vectors (N, D)."""
        if not self.rows:
            self.width = vectors.shape[1]
            self._header()  # as long as the last one, whatever the number of rows
        self.file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self.rows += len(vectors)

    def _header(self) -> None:
        self.file.seek(0)
        shape = (self.rows, self.width)
        npy.write_array_header_1_0(
            self.file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )


@contextmanager
def writing(path: Path) -> Iterator[VectorWriter]:
    """A writer whose file takes the place of `path` at the end, and only if nothing failed.

    Raises UserError unless the name ends in .npy and is that of a file.
    """
    if path.suffix != ".npy" or (path.exists() and not path.is_file()):
        raise UserError(f"{path}: vectors are written to a file whose name ends in .npy (--output)")
    with atomic(path) as temporary, temporary.open("wb") as file:
        writer = VectorWriter(file)
        yield writer
        writer._header()
        file.flush()
        bound(path).unlink(missing_ok=True)  # it never stands beside other vectors


def bound(path: Path) -> Path:
    """The file beside vectors that says which library and model they are of."""
    return path.with_name(path.name + ".json")


def bind(path: Path, *, library: str, model: str) -> None:
    """Record the digests of the library and of the model whose vectors are in the file `path`."""
    write_json(bound(path), {"library": library, "model": model}, bind=[path])


@dataclass(frozen=True)
class StoredVectors:
    """Vectors (N, D) of a library, and the digests of the library and the model."""

    vectors: Floats
    library: str
    model: str

    @classmethod
    def read(cls, path: Path) -> StoredVectors:
        """What `writing` and `bind` wrote; UserError if it is missing, damaged or of others."""
        for file in (path, bound(path)):
            if not file.is_file():
                raise UserError(f"{file}: not found; `embed` writes it (--vectors)")
        try:
            content, files = read_bound(bound(path), (path.name,))
            library, model = content["library"], content["model"]
            vectors = _parse(files[path.name])
        except (ValueError, TypeError, LookupError, OSError) as error:
            raise UserError(f"{path}: not as `embed` wrote it: {str(error)[:200]}") from None
        return cls(vectors, library, model)


def _parse(content: bytes) -> Floats:
    """The array of a .npy file, without copying it."""
    from io import BytesIO

    file: Any = BytesIO(content)
    if npy.read_magic(file) != (1, 0):
        raise ValueError("another version of .npy")
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):
        raise ValueError(f"holds {shape} of {dtype}")
    values = np.frombuffer(content, dtype, offset=file.tell())
    return values.reshape(shape)
