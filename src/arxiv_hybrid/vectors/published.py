"""Word vectors that others publish: where they are, how large, and with which checksum."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from arxiv_hybrid.params import PUBLISHED_GLOVE, Glove
from arxiv_hybrid.system.downloads import Remote, download, sha256_of
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import user_file

KEY = "glove.source"
_STANFORD = ("https://nlp.stanford.edu/data", "https://downloads.cs.stanford.edu/nlp/data")
_HUB = "https://huggingface.co/stanfordnlp/glove/resolve/main"

GLOVE_6B = Remote(
    "glove.6B.zip",
    tuple(f"{folder}/glove.6B.zip" for folder in (*_STANFORD, _HUB)),
    size=862_182_613,
    sha256="617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
)


def remote(source: str, dim: int) -> Remote:
    """The file of a name in `config.PUBLISHED_GLOVE` with vectors of `dim` numbers.

    GloVe 6B (Pennington et al. 2014) has all its widths in one file. Of the vectors of 2024
    (Carlson et al. 2025) no checksum is published.
    """
    if source == "glove.6B":
        return GLOVE_6B
    name = f"{source}.{dim}d.zip"
    return Remote(name, tuple(f"{folder}/wordvecs/{name}" for folder in _STANFORD))


def vector_file(glove: Glove, root: Path, cache: Callable[[], Path]) -> Path | None:
    """The file that `glove.source` names, downloaded into `cache` if it is a published one.

    None for vectors that are no file. The address in GLOVE_MIRROR_URL, a folder with the
    published files, is tried first. Raises UserError if the file is not to be had or is
    not the one of `glove.sha256`.
    """
    if glove.source in ("corpus", "none"):
        return None
    if glove.source not in PUBLISHED_GLOVE:
        path = user_file(root, glove.source)
        if glove.sha256 and path.is_file() and (found := sha256_of(path)) != glove.sha256:
            raise UserError(f"{path}: sha256 is {found}, expected {glove.sha256} (glove.sha256)")
        return path
    wanted = remote(glove.source, glove.dim)
    if glove.sha256 and wanted.sha256 not in (None, glove.sha256):
        raise UserError(
            f"params.yaml: glove.sha256: {glove.sha256} is not that of {wanted.name}, which is "
            f"{wanted.sha256}; null takes the published one"
        )
    wanted = replace(wanted, sha256=wanted.sha256 or glove.sha256)
    if mirror := os.environ.get("GLOVE_MIRROR_URL"):
        wanted = replace(wanted, urls=(f"{mirror.rstrip('/')}/{wanted.name}", *wanted.urls))
    return download(wanted, cache() / "glove", key=KEY)
