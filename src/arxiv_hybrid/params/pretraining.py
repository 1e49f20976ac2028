"""The schema of pretraining/params.yaml."""

from __future__ import annotations

from pydantic import Field, field_validator

from arxiv_hybrid.params.schema import DeviceName, Precision, Strict


class PretrainingParams(Strict):
    """All of pretraining/params.yaml."""

    texts: str
    leave_out: str | None
    seed: int = Field(ge=0, lt=2**32)
    vocabulary: int = Field(ge=10, le=200_000)
    min_freq: int = Field(ge=1)
    dim: int = Field(ge=2, le=1024)
    window: int = Field(ge=1, le=50)
    vector_epochs: int = Field(ge=1, le=1000)
    num_filters: int = Field(ge=1, le=4096)
    lstm_hidden: int = Field(ge=1, le=4096)
    title_length: int = Field(ge=1, le=512)
    abstract_length: int = Field(ge=5, le=4096)
    epochs: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=2, le=65536)
    learning_rate: float = Field(gt=0, le=10)
    word_dropout: float = Field(ge=0, lt=1)
    temperature: float = Field(gt=0, le=10)
    precision: Precision
    device: DeviceName

    @field_validator("texts", mode="before")
    @classmethod
    def _texts_are_named(cls, texts: object) -> object:
        if not texts:
            raise ValueError(
                "name a file of papers, such as -S pretraining/params.yaml:texts=dump.json"
            )
        return texts
