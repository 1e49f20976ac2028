"""The model that `serve` and `update` use."""

from __future__ import annotations

from pathlib import Path

from arxiv_hybrid.params import load
from arxiv_hybrid.paths import MODEL, PARAMS, repository_root, shipped_model
from arxiv_hybrid.serving.server import ServedModel
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.shipped import is_shipped
from arxiv_hybrid.tracking import find_champion

REGISTERED_NAME = "arxiv-hybrid"  # unless tracking.register_as names another
CHAMPION, SHIPPED = Path("champion"), Path("shipped")  # values of --model that are no folders


def choose_model(wanted: Path | None, into: Path) -> ServedModel:
    """The model that --model names; without it the champion, the last run's or the shipped one.

    into: an empty folder for the files of a champion.
    """
    if wanted == SHIPPED:
        return shipped()
    if wanted in (CHAMPION, None):
        name = registered_name()
        champion = find_champion(repository_root(), name, into)
        if champion is not None:
            return ServedModel(champion.folder, champion.title)
        if wanted == CHAMPION:
            raise UserError(f"no champion is registered as {name} (--model)")
    folder = wanted or (MODEL if MODEL.is_dir() or not is_shipped() else shipped_model())
    is_the_shipped = folder.resolve() == shipped_model().resolve()
    return ServedModel(folder, "shipped" if is_the_shipped else str(folder))


def shipped() -> ServedModel:
    """The shipped model; UserError if there is none."""
    if not is_shipped():
        raise UserError("this installation has no shipped model (--model)")
    return ServedModel(shipped_model(), "shipped")


def registered_name() -> str:
    """The name under which models are registered."""
    named = load(PARAMS).tracking.register_as if PARAMS.exists() else None
    return named or REGISTERED_NAME
