"""From arXiv metadata to a trained, measured, explained paper classifier.

Import it before torch: it sets how long OpenMP's threads spin, which torch reads when it is loaded.
If torch is imported first, everything works, but slowly while other programs use the cores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arxiv_hybrid.system.runtime import limit_spinning

if TYPE_CHECKING:
    from pathlib import Path

    from arxiv_hybrid.inference.classifier import TextClassifier

__version__ = "0.1.0"

limit_spinning()  # here, because every stage, command, script and user of the library passes here


def load(
    folder: str | Path | None = None, *, device: str = "auto", precision: str = "auto"
) -> TextClassifier:
    """A trained classifier: of a model folder, or the one that comes with the package.

    device, precision: see `params.yaml`. Raises UserError if the folder holds no sound model.
    """
    from arxiv_hybrid.inference import checkpoint  # torch takes a second to load
    from arxiv_hybrid.paths import default_model

    return checkpoint.load(folder or default_model(), device=device, precision=precision)
