"""Record digests of the files that params.yaml names, to notice when one changes.

DVC then notices a change in one of them, also outside the repository.
"""

from typing import Any

from _stage import prepare

prepare()

from arxiv_hybrid.paths import FINGERPRINTS, INPUTS, PARAMS, repository_root
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.fingerprints import read_params, write_fingerprints
from arxiv_hybrid.system.shipped import encoder_of


def main(params: dict[str, Any]) -> None:
    root = repository_root()
    write_fingerprints(INPUTS, named_files(params), root, root / FINGERPRINTS)


def named_files(params: dict[str, Any]) -> dict[str, Any]:
    """The paths in use, by parameter; None for others. `glove.source` may be no path at all."""
    sections = {name: params.get(name) for name in ("fetch", "glove")}
    fetch, glove = ({} if not isinstance(s, dict) else s for s in sections.values())
    pretrained, reads = encoder_of(params), fetch.get("source") in ("csv", "snapshot")
    learns = glove.get("source") == "corpus" and not pretrained
    return {
        "fetch.path": fetch.get("path") if reads else None,
        "glove.source": None if pretrained else glove.get("source"),
        "glove.extra_text": glove.get("extra_text") if learns else None,
        "pretrained": pretrained,
    }


if __name__ == "__main__":
    with exit_on_user_error("stopped; `dvc repro` continues with this stage"):
        main(read_params(PARAMS))
