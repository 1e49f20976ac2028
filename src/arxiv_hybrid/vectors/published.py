"""Published word vectors: their URLs, sizes and checksums."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from arxiv_hybrid.params import PUBLISHED_GLOVE, Glove
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.downloads import RemoteFile, download
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import user_file

_STANFORD = ("https://nlp.stanford.edu/data", "https://downloads.cs.stanford.edu/nlp/data")
_HUB = "https://huggingface.co/stanfordnlp/glove/resolve/main"

GLOVE_6B = RemoteFile(
    "glove.6B.zip",
    tuple(f"{folder}/glove.6B.zip" for folder in (*_STANFORD, _HUB)),
    size=862_182_613,
    sha256="617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
)


def remote_file(source: str, dim: int) -> RemoteFile:
    """The file with vectors of `dim` dimensions for a name in `params.PUBLISHED_GLOVE`.

    GloVe 6B (Pennington et al. 2014) has all dimensions in one file. The vectors of 2024
    (Carlson et al. 2025) have no published checksum.
    """
    if source == "glove.6B":
        return GLOVE_6B
    name = f"{source}.{dim}d.zip"
    return RemoteFile(name, tuple(f"{folder}/wordvecs/{name}" for folder in _STANFORD))


def vector_file(glove: Glove, root: Path, cache: Callable[[], Path]) -> Path | None:
    """Path of the vectors that `glove.source` names; published ones are downloaded to `cache`.

    None if the vectors do not come from a file. The URL in GLOVE_MIRROR_URL, a folder with the
    published files, is tried first. Raises UserError if the file cannot be downloaded or does
    not match `glove.sha256`.
    """
    if glove.source in ("corpus", "none"):
        return None
    if glove.source not in PUBLISHED_GLOVE:
        path = user_file(root, glove.source)
        if glove.sha256 and path.is_file() and (actual := digests.of_file(path)) != glove.sha256:
            raise UserError(f"{path}: sha256 is {actual}, expected {glove.sha256} (glove.sha256)")
        return path
    remote = remote_file(glove.source, glove.dim)
    if glove.sha256 and remote.sha256 not in (None, glove.sha256):
        raise UserError(
            f"params.yaml: glove.sha256: {glove.sha256} does not match {remote.name}, which has "
            f"{remote.sha256}; null takes the published checksum"
        )
    remote = replace(remote, sha256=remote.sha256 or glove.sha256)
    if mirror := os.environ.get("GLOVE_MIRROR_URL"):
        remote = replace(remote, urls=(f"{mirror.rstrip('/')}/{remote.name}", *remote.urls))
    return download(
        remote, cache() / "glove", option="glove.source", checksum_option="glove.sha256"
    )
