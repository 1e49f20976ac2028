"""The schema of pretraining/params.yaml."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from arxiv_hybrid.params.schema import DeviceName, Precision, Strict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Values = TypeVar("Values", bound=DataclassInstance)

Files = str | list[str]
Objective = Literal["categories", "primary", "titles"]
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class PretrainingTracking(Strict):
    """MLflow."""

    enabled: bool
    experiment: str = Field(min_length=1)


class PretrainingParams(Strict):
    """All of pretraining/params.yaml."""

    texts: Files
    leave_out: Files | None
    until: str | None
    seed: int = Field(ge=0, lt=2**32)
    vocabulary: int = Field(ge=10, le=200_000)
    min_freq: int = Field(ge=1)
    title_length: int = Field(ge=1, le=512)
    abstract_length: int = Field(ge=5, le=4096)
    min_papers: int = Field(ge=1)
    validation: float = Field(ge=0.0001, le=0.5)
    objectives: list[Objective] = Field(min_length=1)
    primary_weight: float = Field(gt=0, le=100)
    titles_weight: float = Field(gt=0, le=100)
    temperature: float = Field(gt=0, le=10)
    dim: int = Field(ge=2, le=1024)
    vector_epochs: int = Field(ge=1, le=100)
    num_filters: int = Field(ge=1, le=4096)
    kernel_sizes: list[Annotated[int, Field(ge=1, le=31)]] = Field(min_length=1)
    hidden: int = Field(ge=1, le=8192)
    dropout: float = Field(ge=0, le=0.99)
    word_dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=2, le=65536)
    learning_rate: float = Field(gt=0, le=10)
    embedding_rate_scale: float = Field(ge=0, le=100)
    weight_decay: float = Field(ge=0, le=1)
    precision: Precision
    device: DeviceName
    tracking: PretrainingTracking

    @field_validator("texts", mode="before")
    @classmethod
    def _texts_are_named(cls, texts: Any) -> Any:
        if not texts:
            raise ValueError(
                "name a file of papers, such as -S pretraining/params.yaml:texts=dump.json"
            )
        return texts

    @field_validator("texts", "leave_out")
    @classmethod
    def _names_differ(cls, files: Files | None) -> Files | None:
        if isinstance(files, list):
            if not all(files):
                raise ValueError("a file has no name")
            if len(set(files)) < len(files):
                raise ValueError("a file is named twice")
        return files

    @field_validator("until", mode="before")
    @classmethod
    def _is_a_month(cls, month: Any) -> Any:
        if month is not None and not (isinstance(month, str) and _MONTH.fullmatch(month)):
            raise ValueError("expected a month such as '2025-10', in quotes")
        return month

    @field_validator("objectives")
    @classmethod
    def _each_once(cls, objectives: list[Objective]) -> list[Objective]:
        if len(set(objectives)) < len(objectives):
            raise ValueError("an objective is named twice")
        if "primary" in objectives and "categories" not in objectives:
            raise ValueError("primary needs categories beside it")
        return objectives

    def values_of(self, kind: type[Values]) -> Values:
        """The dataclass `kind`, each field with the value of the parameter of its name."""
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    @property
    def text_files(self) -> list[str]:
        """The files of papers to learn from."""
        return _listed(self.texts)

    @property
    def left_out_files(self) -> list[str]:
        """The files of papers to leave out."""
        return _listed(self.leave_out)


def _listed(files: Files | None) -> list[str]:
    if files is None or files == "":
        return []
    return [files] if isinstance(files, str) else files
