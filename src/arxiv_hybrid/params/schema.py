"""The schema of params.yaml: unknown keys and impossible values are errors."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from arxiv_hybrid.params.recipes import AUTO
from arxiv_hybrid.system.shipped import PRETRAINABLE
from arxiv_hybrid.taxonomy.label_sets import PRESETS, Definitions, definitions, expand

ModelName = Literal["baseline", "v1", "v2", "v3", "v4", "v5", "v6", "cnn_lstm"]
# attention heads share the channels of both LSTM directions
LSTM_MULTIPLE = {"v1": 2, "v2": 2, "v3": 2, "v4": 4}
GATED = tuple(LSTM_MULTIPLE)
PUBLISHED_PER_CATEGORY = 3000
DEFAULT_CLASSES = 3  # of labels.classes: auto
_MONTH = re.compile(r"^\d{4}-(0[1-9]|1[0-2])$")
_DAY = re.compile(r"^\d{4}-\d\d-\d\d$")
PUBLISHED_GLOVE = {  # name: the published widths
    "glove.6B": (50, 100, 200, 300),
    "glove.2024.dolma": (300,),
    "glove.2024.wikigiga": (50, 100, 200, 300),
}
VECTOR_FILES = (".txt", ".vec", ".gz", ".xz", ".zip")


def _is_date(day: Any) -> bool:
    if not isinstance(day, str) or not _DAY.match(day):
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


class Strict(BaseModel):
    """Base of every section: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


Section = TypeVar("Section", bound=Strict)


Precision = Literal["auto", "fp32", "bf16", "fp16"]
DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class Columns(Strict):
    """Names of a CSV's columns; case and surrounding spaces do not matter."""

    id: str = "id"
    title: str = "title"
    abstract: str = "abstract"
    category: str = "category"
    primary_category: str = "primary_category"
    all_categories: str = "all_categories"
    published: str = "published"
    label: str = "label"


class Fetch(Strict):
    """Where papers come from."""

    source: Literal["synthetic", "arxiv", "csv", "snapshot"]
    path: str | None
    columns: Columns = Columns()
    categories: Literal["auto"] | list[str] = "auto"
    per_category: Annotated[int, Field(ge=1)] | Literal["auto"] | None
    sample: Literal["newest", "random"]
    since: str | None
    until: str | None
    allow_fewer: bool
    contact: Annotated[str, Field(pattern=r"^[!-~][ -~]{2,99}$")] | None = None
    papers: int = Field(ge=100, le=1_000_000)
    label_noise: float = Field(ge=0, lt=0.75)
    seed: int = Field(ge=0, lt=2**32)

    @field_validator("since", "until", mode="before")
    @classmethod
    def _is_valid_day(cls, day: Any) -> Any:
        if day is not None and not _is_date(day):
            raise ValueError("expected a day such as 2025-11-17, in quotes")
        if day is not None and not "1991" <= day < "2100":
            raise ValueError("expected a day from 1991, when arXiv began, to 2099")
        return day

    @field_validator("categories")
    @classmethod
    def _known_categories(cls, names: Any) -> Any:
        if names != AUTO and names != ["*"]:
            if not names:
                raise ValueError("expected categories, archives, patterns like math.*, or '*'")
            expand(names)
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Fetch:
        if self.source in ("csv", "snapshot") and not self.path:
            raise ValueError(f"source {self.source} needs fetch.path, the file to read")
        if self.source == "arxiv" and self.sample != "newest":
            raise ValueError(f"sample {self.sample} needs source snapshot, arxiv gives the newest")
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"since {self.since} is after until {self.until}")
        return self


class Labels(Strict):
    """How papers are labelled."""

    from_: Literal["primary", "listed", "query", "column"] = Field(alias="from")
    classes: Literal["auto", "archives", "all"] | int | list[str] | dict[str, list[str]]
    column: str | None = None
    separator: str | None = Field(None, min_length=1)
    outside: Literal["leave_out", "other"] = "leave_out"
    min_papers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    too_few: Literal["auto", "error", "leave_out"] = "auto"

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: Any, info: ValidationInfo) -> Any:
        if info.data.get("from_") != "column" and classes != AUTO:
            definitions(classes)  # raises on unknown categories
        return classes

    @property
    def multi_label(self) -> bool:
        """Whether a paper may have several classes."""
        return self.from_ == "listed" or (self.from_ == "column" and self.separator is not None)

    @property
    def definitions(self) -> Definitions | None:
        """The categories of each class; None for labels from a column, which need no arXiv."""
        if self.from_ == "column":
            return None
        return definitions(DEFAULT_CLASSES if self.classes == AUTO else self.classes)

    @property
    def published(self) -> bool:
        """Whether the classes are a published set."""
        return self.from_ != "column" and (self.classes == AUTO or isinstance(self.classes, int))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, `other` not included; None if the data defines them."""
        if self.definitions is not None:
            return tuple(self.definitions)
        return None if isinstance(self.classes, str) else tuple(self.classes)  # type: ignore[arg-type]

    @property
    def leaves_out_small_classes(self) -> bool:
        """Whether a class with too few papers is left out, not an error."""
        if self.too_few == AUTO:
            return isinstance(self.classes, str) and self.classes != AUTO
        return self.too_few == "leave_out"

    @model_validator(mode="after")
    def _consistent(self) -> Labels:
        if self.from_ == "column":
            if isinstance(self.classes, int) or self.classes in ("archives", "all"):
                raise ValueError(
                    f"classes: {self.classes} is a set of arXiv categories; with from: column use "
                    "auto (every value), a list or a mapping"
                )
            if isinstance(self.classes, (list, dict)) and len(self.classes) < 2:
                raise ValueError("classes: a classifier needs at least two classes")
        elif self.separator is not None:
            raise ValueError("separator needs from: column")
        return self


class Split(Strict):
    """How papers are split."""

    by: Literal["paper", "row", "time", "hash"]
    val: Annotated[float, Field(gt=0, lt=0.5)] | str
    test: Annotated[float, Field(gt=0, lt=0.5)] | str
    seed: int = Field(ge=0, lt=2**32)

    @property
    def shares(self) -> tuple[float, float] | None:
        """The shares of validation and test papers; None if months are given."""
        if isinstance(self.val, str) or isinstance(self.test, str):
            return None
        return self.val, self.test

    @property
    def months(self) -> tuple[str, str] | None:
        """The first months of validation and test, YYYY-MM; None if shares are given."""
        return None if self.shares else (str(self.val), str(self.test))

    @model_validator(mode="after")
    def _shares_or_months(self) -> Split:
        if self.months:
            first, second = self.months
            if not (_MONTH.match(first) and _MONTH.match(second)):
                raise ValueError("val and test must be two shares, or two months such as 2017-01")
            if self.by != "time":
                raise ValueError("months need by: time")
            if first >= second:
                raise ValueError(f"val {first} must be before test {second}")
        elif sum(self.shares or ()) >= 0.9:
            raise ValueError("split.val + split.test must leave at least 10 % for training")
        return self


class Augment(Strict):
    """EDA variants of training abstracts."""

    fraction: float = Field(ge=0, le=1)
    alpha: float = Field(gt=0, lt=1)
    synonyms: Literal["thesaurus", "vectors"]


class Glove(Strict):
    """Word vectors."""

    source: str
    method: Literal["word2vec", "ppmi_svd"]
    epochs: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"]
    dim: int = Field(ge=2, le=1024)
    window: int = Field(ge=1, le=50)
    extra_text: str | None
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")
    learning_rate_scale: float = Field(ge=0, le=10)

    @field_validator("source")
    @classmethod
    def _is_name_or_file(cls, source: str) -> str:
        names = ("corpus", "none", *PUBLISHED_GLOVE)
        if source in names or source.endswith(VECTOR_FILES):
            return source
        raise ValueError(
            f"expected {', '.join(names)} or the path of a file ({', '.join(VECTOR_FILES)})"
        )

    @model_validator(mode="after")
    def _has_published_width(self) -> Glove:
        widths = PUBLISHED_GLOVE.get(self.source, (self.dim,))
        if self.dim not in widths:
            raise ValueError(
                f"{self.source} has no vectors with {self.dim} dimensions; glove.dim may be "
                f"{', '.join(map(str, widths))}"
            )
        return self


class Vocab(Strict):
    """The vocabulary, and how many tokens of a text a model reads."""

    max_size: int = Field(ge=10)
    min_freq: int = Field(ge=1)
    title_length: int = Field(ge=1, le=512)
    abstract_length: int = Field(ge=5, le=4096)


_Width = Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] | None
_Group = Annotated[int, Field(ge=1, le=512)] | Literal["auto"] | None
_Part = bool | Literal["auto"] | None


class Architecture(Strict):
    """Layer widths and optional parts; auto or None keeps the model's default."""

    num_filters: _Width
    lstm_hidden: _Width
    attention: _Part
    residual: _Part
    gates: _Part
    char_init_std: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] | None
    title_group: _Group = None
    abstract_group: _Group = None

    def given(self) -> dict[str, int | bool | float]:
        """Only the values that the user or the recipe sets."""
        return {key: value for key, value in self.model_dump().items() if value not in (None, AUTO)}


class Member(BaseModel):
    """One ensemble member: a name, and any root parameter that differs from the main model."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")  # a key in params.resolved.yaml


class Ensemble(Strict):
    """The models that vote with the main model."""

    tta: int = Field(ge=0, le=32)
    weights: Literal["equal", "fitted"]
    linear: bool
    members: list[Member]

    @field_validator("members")
    @classmethod
    def _names_differ(cls, members: list[Member]) -> list[Member]:
        names = [member.name for member in members]
        if len(set(names)) < len(names):
            raise ValueError(f"member names must differ, got {', '.join(names)}")
        if taken := {"main", "linear"} & set(names):
            raise ValueError(f"the name {taken.pop()} is reserved for another voter")
        return members


class Evaluate(Strict):
    """How test scores are measured."""

    bootstrap: int = Field(ge=100, le=1_000_000)
    confidence: float = Field(gt=0.5, lt=1)
    calibration_bins: int = Field(ge=2, le=100)
    explain_papers: int = Field(ge=1, le=100)


class Tracking(Strict):
    """MLflow."""

    enabled: bool
    experiment: str = Field(min_length=1)
    log_model: bool
    register_as: str | None = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


class Params(Strict):
    """All of params.yaml."""

    seed: int = Field(ge=0, lt=2**32)
    model: ModelName
    recipe: Literal["ours", "published"]
    dropout: float = Field(ge=0, le=0.99)
    word_dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)
    batch_size: Annotated[int, Field(ge=2, le=65536)] | Literal["auto"]
    accumulate: int = Field(ge=1, le=1024)
    epochs: int = Field(ge=1, le=10_000)
    min_steps: int = Field(0, ge=0, le=10_000_000)
    patience: int = Field(ge=1)
    weight_decay: float = Field(ge=0, le=1)
    gradient_clip: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    class_weights: Literal["none", "balanced"] | list[float] | dict[str, float]
    loss: Literal["cross_entropy", "focal", "asymmetric"]
    thresholds: Literal["per_class", "global"]
    mixup: float = Field(ge=0, le=1)
    embeddings: Literal["pretrained", "random", "wide"]
    pretrained: str | None
    optimizer: Literal["adamw", "adam", "sgd"]
    scheduler: Literal["onecycle", "cosine", "warmup_cosine", "plateau", "none"]
    precision: Precision
    device: DeviceName
    processes: int = Field(ge=1, le=64)
    architecture: Architecture
    fetch: Fetch
    labels: Labels
    split: Split
    augment: Augment
    glove: Glove
    vocab: Vocab
    ensemble: Ensemble
    evaluate: Evaluate
    tracking: Tracking
    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def written(self) -> dict[str, Any]:
        """The parameters as written, every `auto` included."""
        return self._written

    @property
    def starts_from_encoder(self) -> bool:
        """Whether the whole model, not only its word vectors, starts from `pretrained`."""
        return self.pretrained is not None and self.model == PRETRAINABLE

    @property
    def wanted_categories(self) -> tuple[str, ...] | None:
        """The categories that a source looks for, aliases replaced; None: all of arXiv."""
        if self.fetch.categories != AUTO:
            return None if self.fetch.categories == ["*"] else expand(self.fetch.categories)
        sets = self.labels.definitions
        if sets is None or self.labels.outside == "other" or self.labels.classes in PRESETS:
            return None
        return tuple(category for members in sets.values() for category in members)

    @property
    def per_category(self) -> int | None:
        """The papers that a source takes of each category; None: all."""
        if not isinstance(self.fetch.per_category, str):
            return self.fetch.per_category
        return PUBLISHED_PER_CATEGORY if self.labels.published else None

    @property
    def row_per_query(self) -> bool:
        """Whether each wanted category of a paper has a row in papers.parquet."""
        few = self.labels.published and self.wanted_categories is not None
        return self.labels.from_ == "query" or few

    @field_validator("class_weights")
    @classmethod
    def _positive_weights(cls, weights: Any) -> Any:
        if not isinstance(weights, str):
            values = list(weights.values()) if isinstance(weights, dict) else weights
            if values and min(values) <= 0:
                raise ValueError("class_weights must all be positive")
        return weights

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        names = self.labels.class_names
        classes = len(names or ()) + (self.labels.outside == "other")
        if names and isinstance(self.class_weights, list) and len(self.class_weights) != classes:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} values for "
                f"labels.classes={self.labels.classes} ({classes} classes); "
                "give one per class, or none, or balanced"
            )
        if self.loss == "asymmetric" and not self.labels.multi_label:
            raise ValueError(
                "loss: asymmetric needs several labels per paper (labels.from: listed)"
            )
        self._check_architecture()
        self._check_source()
        if self.starts_from_encoder and self.embeddings != "pretrained":
            raise ValueError(f"embeddings: {self.embeddings} contradicts pretrained for v6")
        if self.processes > 1 and self.device.startswith("cuda:"):
            raise ValueError(
                f"device: {self.device} is a single GPU; several processes need cuda or auto"
            )
        if isinstance(self.batch_size, int) and self.batch_size < 2 * self.processes:
            raise ValueError(
                f"batch_size: {self.batch_size} is too small: each of {self.processes} processes "
                "needs two papers per batch"
            )
        return self

    def _check_source(self) -> None:
        source = self.fetch.source
        if self.labels.from_ == "column" and source not in ("csv", "synthetic"):
            raise ValueError(f"labels: from: column needs fetch.source: csv, not {source}")
        everything = self.wanted_categories is None and self.per_category is None
        if source == "arxiv" and everything and self.fetch.since is None:
            raise ValueError(
                "fetch: all of arXiv is too much for its API: set since, or a number per_category, "
                "or use source: snapshot"
            )

    def _check_architecture(self) -> None:
        given = self.architecture.given()
        if given and self.starts_from_encoder:
            raise ValueError(
                f"architecture.{min(given)}: the encoder of `pretrained` has its own widths; "
                "leave architecture at auto, or set pretrained: null"
            )
        if "lstm_hidden" in given and self.model == "v6":
            raise ValueError("architecture.lstm_hidden: v6 has no LSTM")
        multiple = LSTM_MULTIPLE.get(self.model, 1)
        if given.get("lstm_hidden", multiple) % multiple:
            raise ValueError(
                f"architecture.lstm_hidden: {given['lstm_hidden']} is not allowed: "
                f"the attention heads of {self.model} need a multiple of {multiple}"
            )
        for part in ("attention", "residual", "gates"):
            if part in given and self.model not in GATED:
                raise ValueError(f"architecture.{part}: only {', '.join(GATED)} have that part")
        if "char_init_std" in given and self.model != "v4":
            raise ValueError("architecture.char_init_std: only v4 reads characters")
        for part in ("title_group", "abstract_group"):
            if part in given and self.model != "v5":
                raise ValueError(f"architecture.{part}: only v5 groups tokens")
