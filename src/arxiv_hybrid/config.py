"""params.yaml as validated, typed models: an unknown key or impossible value is an error."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from arxiv_hybrid.errors import UserError
from arxiv_hybrid.recipes import AUTO, laid_over, resolve

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ModelName = Literal["baseline", "v1", "v2", "v3", "v4", "v5", "cnn_lstm"]
# attention heads share the channels of both LSTM directions
LSTM_MULTIPLE = {"v1": 2, "v2": 2, "v3": 2, "v4": 4}
GATED = tuple(LSTM_MULTIPLE)
CLASS_NAMES = ("cs.AI", "cs.CL", "cs.CV", "cs.LG", "cs.AI-LG")
_DAY = re.compile(r"^\d{4}-\d\d-\d\d$")
_KIND = re.compile(r"^(list|dict|literal)\[|^(float|str)$")  # of a value, in pydantic's reports
PUBLISHED_GLOVE = {  # name: widths that are published
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
    """Base of every section: no unknown keys, no NaN, no later change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=Strict)


class Fetch(Strict):
    """Where papers come from."""

    source: Literal["synthetic", "arxiv", "csv", "snapshot"]
    path: str | None
    per_category: int = Field(ge=1)
    sample: Literal["newest", "random"]
    since: str | None
    until: str | None
    allow_fewer: bool
    papers: int = Field(ge=100, le=1_000_000)
    label_noise: float = Field(ge=0, lt=0.75)
    seed: int = Field(ge=0, lt=2**32)

    @field_validator("since", "until", mode="before")
    @classmethod
    def _a_day(cls, day: Any) -> Any:
        if day is not None and not _is_date(day):
            raise ValueError("expected a day as 2025-11-17, in quotes")
        if day is not None and not "1991" <= day < "2100":
            raise ValueError("expected a day from 1991, when arXiv began, to 2099")
        return day

    @model_validator(mode="after")
    def _consistent(self) -> Fetch:
        if self.source in ("csv", "snapshot") and not self.path:
            raise ValueError(f"source {self.source} needs fetch.path, the file to read")
        if self.source == "arxiv" and self.sample != "newest":
            raise ValueError(f"sample {self.sample} needs source snapshot, arxiv gives the newest")
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"since {self.since} lies after until {self.until}")
        return self


class Labels(Strict):
    """What a label is."""

    scheme: Literal["primary", "query"]
    classes: Literal[3, 4]


class Split(Strict):
    """How papers are divided."""

    by: Literal["paper", "row", "time"]
    val: float = Field(gt=0, lt=0.5)
    test: float = Field(gt=0, lt=0.5)
    seed: int = Field(ge=0, lt=2**32)


class Augment(Strict):
    """EDA variants of training abstracts."""

    fraction: float = Field(ge=0, le=1)
    alpha: float = Field(gt=0, lt=1)
    synonyms: Literal["thesaurus", "vectors"]


class Glove(Strict):
    """Word vectors."""

    source: str
    method: Literal["word2vec", "ppmi_svd"]
    epochs: int = Field(ge=1, le=1000)
    dim: int = Field(ge=2, le=1024)
    window: int = Field(ge=1, le=50)
    extra_text: str | None
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")
    learning_rate_scale: float = Field(ge=0, le=10)

    @field_validator("source")
    @classmethod
    def _a_name_or_a_file(cls, source: str) -> str:
        names = ("corpus", "none", *PUBLISHED_GLOVE)
        if source in names or source.endswith(VECTOR_FILES):
            return source
        raise ValueError(
            f"expected {', '.join(names)} or the path of a file ({', '.join(VECTOR_FILES)})"
        )

    @model_validator(mode="after")
    def _published(self) -> Glove:
        widths = PUBLISHED_GLOVE.get(self.source, (self.dim,))
        if self.dim not in widths:
            raise ValueError(
                f"{self.source} has no vectors of {self.dim} numbers; glove.dim may be "
                f"{', '.join(map(str, widths))}"
            )
        return self


class Vocab(Strict):
    """Which words and how many of them a model reads."""

    max_size: int = Field(ge=10)
    min_freq: int = Field(ge=1)
    title_length: int = Field(ge=1, le=512)
    abstract_length: int = Field(ge=5, le=4096)


class Architecture(Strict):
    """Widths and parts; None keeps the model's own."""

    num_filters: int | None = Field(ge=1, le=4096)
    lstm_hidden: int | None = Field(ge=1, le=4096)
    attention: bool | None
    residual: bool | None
    gates: bool | None
    letters: Literal["auto"] | float | None

    @field_validator("letters")
    @classmethod
    def _letters(cls, letters: Literal["auto"] | float | None) -> Literal["auto"] | float | None:
        if isinstance(letters, float) and not 0 < letters <= 10:
            raise ValueError("must be above 0 and at most 10")
        return letters

    def given(self) -> dict[str, int | bool | float]:
        """Only what the user or a recipe set."""
        return {key: value for key, value in self.model_dump().items() if value not in (None, AUTO)}


class Member(BaseModel):
    """One ensemble member: a name, and any root parameter that differs from the main model."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


class Ensemble(Strict):
    """Who votes with the main model."""

    tta: int = Field(ge=0, le=32)
    weights: Literal["equal", "fitted"]
    linear: bool
    members: list[Member] = Field(min_length=1)

    @field_validator("members")
    @classmethod
    def _names_differ(cls, members: list[Member]) -> list[Member]:
        names = [member.name for member in members]
        if len(set(names)) < len(names):
            raise ValueError(f"member names must differ, got {', '.join(names)}")
        if taken := {"main", "linear"} & set(names):
            raise ValueError(f"{taken.pop()} is the name of another voter")
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
    batch_size: int = Field(ge=2, le=65536)
    accumulate: int = Field(ge=1, le=1024)
    epochs: int = Field(ge=1, le=10_000)
    patience: int = Field(ge=1)
    weight_decay: float = Field(ge=0, le=1)
    gradient_clip: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    class_weights: Literal["none", "balanced"] | list[float] | dict[str, float]
    loss: Literal["cross_entropy", "focal"]
    mixup: float = Field(ge=0, le=1)
    embeddings: Literal["pretrained", "random", "wide"]
    pretrained: str | None
    optimizer: Literal["adamw", "adam", "sgd"]
    scheduler: Literal["onecycle", "cosine", "warmup_cosine", "plateau", "none"]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")
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
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)  # as written, with every `auto`

    @field_validator("class_weights")
    @classmethod
    def _positive_weights(cls, weights: Any) -> Any:
        if isinstance(weights, dict):
            for name in weights:
                if name not in CLASS_NAMES:
                    raise ValueError(f"{name} is no class; use {', '.join(CLASS_NAMES)}")
        if not isinstance(weights, str):
            values = list(weights.values()) if isinstance(weights, dict) else weights
            if values and min(values) <= 0:
                raise ValueError("class_weights must all be positive")
        return weights

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        classes = self.labels.classes
        if isinstance(self.class_weights, list) and len(self.class_weights) != classes:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} values for labels.classes="
                f"{classes}; give one a class, or none, or balanced"
            )
        self._check_architecture()
        if self.pretrained and self.model == "v5" and self.embeddings != "pretrained":
            raise ValueError(f"embeddings: {self.embeddings} contradicts pretrained for v5")
        if self.processes > 1 and self.device.startswith("cuda:"):
            raise ValueError(
                f"device: {self.device} is one GPU; processes need device cuda or auto"
            )
        if self.batch_size < 2 * self.processes:
            raise ValueError(
                f"batch_size: {self.batch_size} is less than two papers for each of "
                f"{self.processes} processes"
            )
        if self.split.val + self.split.test >= 0.9:
            raise ValueError("split.val + split.test must leave at least 10 % for training")
        return self

    def _check_architecture(self) -> None:
        given = self.architecture.given()
        multiple = LSTM_MULTIPLE.get(self.model, 1)
        if given.get("lstm_hidden", multiple) % multiple:
            raise ValueError(
                f"architecture.lstm_hidden: {given['lstm_hidden']} is no multiple of {multiple}, "
                f"as the attention heads of {self.model} need"
            )
        for part in ("attention", "residual", "gates"):
            if part in given and self.model not in GATED:
                raise ValueError(f"architecture.{part}: only {', '.join(GATED)} have that part")
        if "letters" in given and self.model != "v4":
            raise ValueError("architecture.letters: only v4 reads letters")

    def for_member(self, name: str) -> Params:
        """The parameters of one ensemble member: these, with the member's own laid over them.

        Raises UserError if `ensemble.members` has no such name or overrides a key that
        does not exist at the root.
        """
        for member in self.ensemble.members:
            if member.name == name:
                overrides = member.model_extra or {}
                where = f"params.yaml: ensemble.members[{name}]"
                shared = {"augment": self.augment.model_dump()}  # not what its own recipe says
                return parse(_overlay(self._given, overrides) | shared, where)
        names = ", ".join(member.name for member in self.ensemble.members)
        raise UserError(f"params.yaml: ensemble.members has no {name!r}; it has {names}")


SHARED_BY_MEMBERS = frozenset(
    {
        "pretrained",
        "fetch",
        "labels",
        "split",
        "augment",
        "glove",
        "vocab",
        "ensemble",
        "evaluate",
        "tracking",
    }
)


def load(path: Path) -> Params:
    """Read and validate a params.yaml; raise UserError with one line if it is not sound."""
    params = parse(_read(path), path.name)
    for member in params.ensemble.members:
        params.for_member(member.name)  # a wrong override fails now, not after an hour
    return params


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; it holds every parameter of the pipeline") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def load_section(path: Path, kind: type[Section]) -> Section:
    """Read a YAML file that is one section, as the examples' params.yaml."""
    content = _read(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path.name}: {_one_line(error)}") from None


def parse(content: dict[str, Any], where: str) -> Params:
    """Validate a mapping, each `auto` replaced by the model's recipe.

    where: names the mapping's origin in the error line.
    """
    try:
        params = Params.model_validate(resolve(content))
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from None
    params._given = content
    return params


def _one_line(error: ValidationError) -> str:
    """The first problem of a pydantic report, with its key, and how many more there are."""
    found = error.errors(include_url=False)
    # where several kinds of value are allowed, each has a line: the one that came furthest counts
    same = [entry for entry in found if _key(entry) == _key(found[0])]
    deepest = max(len(entry["loc"]) for entry in same)
    same = [entry for entry in same if len(entry["loc"]) == deepest]
    first = same[0]
    key = ".".join(_key(first, whole=True))
    others = [entry["msg"].removeprefix("Input should be ") for entry in same[1:]]
    message = ", or ".join([first["msg"].removeprefix("Value error, "), *others])
    kind = first["type"]
    if kind == "extra_forbidden":
        text = f"{key}: unknown key"
    elif kind == "missing":
        text = f"{key}: missing"
    elif key:
        text = f"{key}: {first['input']!r} is not allowed: {message[0].lower()}{message[1:]}"
    else:
        text = message
    more = len({entry["loc"][:1] for entry in found}) - 1
    return f"{text} (and {more} more)" if more else text


def _key(entry: ErrorDetails, *, whole: bool = False) -> tuple[str, ...]:
    """The key of a problem: its parameter or, `whole`, the place within its value, too."""
    parts = [str(part) for part in entry["loc"]]
    kinds = [number for number, part in enumerate(parts) if _KIND.match(part)]
    if not whole and kinds:
        return tuple(parts[: kinds[0]])
    return tuple(part for number, part in enumerate(parts) if number not in kinds)


def _overlay(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Lay a member's overrides over the root parameters; data parameters are shared by all."""
    for key in overrides:
        if key in SHARED_BY_MEMBERS:
            raise UserError(f"params.yaml: ensemble.members: {key} is shared by all members")
    return laid_over(base, overrides)


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice instead of keeping the last."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, (str, int, float)):
            line = key_node.start_mark.line + 1
            raise yaml.YAMLError(f"a key in line {line} is not a name")
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.YAMLError(f"key {key!r} stands twice, again in line {line}")
        seen.add(key)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
