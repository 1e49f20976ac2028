"""Train one case: `python train.py noise`, `motif`, `attention`, `forecast` or `transfer`."""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "src"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pydantic import Field, model_validator  # noqa: E402
from safetensors.torch import save  # noqa: E402

from arxiv_hybrid.params import Strict, load_section  # noqa: E402
from arxiv_hybrid.system.errors import UserError  # noqa: E402
from arxiv_hybrid.system.files import write_bytes, write_csv, write_json  # noqa: E402
from arxiv_hybrid.time_series.fit import Curves, fit_sequences, scores  # noqa: E402
from arxiv_hybrid.time_series.model import SequenceCNNLSTM  # noqa: E402
from arxiv_hybrid.time_series.series import Series, generate, split  # noqa: E402


class Transfer(Strict):
    """Pre-train on `source`, fine-tune on `samples` of `target`."""

    source: Literal["motif", "dip"]
    target: Literal["motif", "dip"]
    samples: int = Field(ge=8)
    epochs: int = Field(ge=1)
    repeats: int = Field(ge=2)


class Params(Strict):
    """All of params.yaml."""

    samples: int = Field(ge=20)
    steps: int = Field(ge=10)
    noise: float = Field(ge=0)
    test: float = Field(ge=0.05, le=0.9)
    validation: float = Field(ge=0, le=0.5)
    filters: int = Field(ge=1)
    kernel_size: int = Field(ge=1)
    pool: int = Field(ge=1)
    hidden: int = Field(ge=1)
    attention: bool
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    seed: int = Field(ge=0)
    transfer: Transfer

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if self.kernel_size > self.steps or self.pool > self.steps:
            raise ValueError("kernel_size and pool must not be above steps")
        return self


CASES = {  # the signal, whether it is a forecast, whether attention is forced
    "noise": ("null", False, False),
    "motif": ("motif", False, False),
    "attention": ("motif", False, True),
    "forecast": ("wave", True, False),
}


def new_model(params: dict[str, Any], seed: int, *, attention: bool = False) -> SequenceCNNLSTM:
    """A model with fresh weights."""
    torch.manual_seed(seed)
    return SequenceCNNLSTM(
        filters=params["filters"],
        kernel_size=params["kernel_size"],
        pool=params["pool"],
        hidden=params["hidden"],
        attention=params["attention"] or attention,
    )


def series(params: dict[str, Any], signal: str, samples: int, seed: int) -> tuple[Series, Series]:
    """Series to train on and series to test."""
    random = np.random.default_rng(seed)
    noise = params["noise"] / 10 if signal == "wave" else params["noise"]
    made = generate(signal, samples=samples, steps=params["steps"], noise=noise, random=random)
    test, rest = split(made, params["test"], random)
    return rest, test


def fit(
    params: dict[str, Any], model: SequenceCNNLSTM, train: Series, held_out: Series, **how: Any
) -> Curves:
    """Train with the shipped settings, or with `how` in their place."""
    settings = {key: params[key] for key in ("epochs", "batch_size", "learning_rate", "seed")}
    return fit_sequences(model, train, held_out, **{"forecast": False, **settings, **how})


def train_case(params: dict[str, Any], case: str) -> None:
    """One case: model, curves by epoch, and the test score."""
    signal, forecast, attention = CASES[case]
    train, test = series(params, signal, params["samples"], params["seed"])
    held_out, name = test, "test"
    if params["validation"]:
        random = np.random.default_rng(params["seed"])
        held_out, train = split(train, params["validation"], random)
        name = "val"
    model = new_model(params, params["seed"], attention=attention)
    curves = fit(params, model, train, held_out, forecast=forecast, on_epoch=say)
    table = pd.DataFrame(curves.rows).rename(columns=lambda key: key.replace("held_out", name))
    table["epoch"] = table["epoch"].astype(int)
    reached = scores(model, test, forecast)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    write_bytes(HERE / "models" / f"{case}.safetensors", save(weights))
    write_csv(HERE / "metrics" / f"{case}.csv", table)
    last = table.iloc[-1].drop("epoch").to_dict()
    write_json(HERE / "metrics" / f"{case}.json", {**last, "test": reached})
    what = "variance explained" if forecast else "accuracy"
    print(f"{case}: {what} on {len(test.y)} test series {reached['score']:.1%}")


def transfer(params: dict[str, Any]) -> None:
    """Few series of a new signal: a fresh model against one that knows another signal."""
    settings = params["transfer"]
    curves: dict[str, list[list[float]]] = {"fresh": [], "transferred": []}
    for seed in range(params["seed"], params["seed"] + settings["repeats"]):
        known = new_model(params, seed)
        fit(params, known, *series(params, settings["source"], params["samples"], seed), seed=seed)
        enough = round(settings["samples"] / (1 - params["test"]))
        few, _ = series(params, settings["target"], enough, seed + 1000)
        _, test = series(params, settings["target"], 5 * params["samples"], seed + 2000)
        for name, model in (("fresh", new_model(params, seed)), ("transferred", deepcopy(known))):
            rows = fit(params, model, few, test, epochs=settings["epochs"], seed=seed).rows
            curves[name].append([row["held_out_score"] for row in rows])
    means = {name: np.mean(values, axis=0) for name, values in curves.items()}
    last = {name: np.array(values)[:, -1] for name, values in curves.items()}
    gain = last["transferred"] - last["fresh"]
    table = pd.DataFrame({"epoch": range(1, settings["epochs"] + 1), **means})
    write_csv(HERE / "metrics" / "transfer.csv", table)
    report = {name: {"mean": v.mean(), "std": v.std(ddof=1)} for name, v in last.items()}
    gained = {"mean": gain.mean(), "std": gain.std(ddof=1), "least": gain.min()}
    write_json(HERE / "metrics" / "transfer.json", {**report, "gain": gained})
    print(
        f"{settings['samples']} series of {settings['target']}: {means['fresh'][-1]:.1%} from a "
        f"fresh start, {means['transferred'][-1]:.1%} after {settings['source']}"
    )


def say(row: dict[str, float]) -> None:
    """A line an epoch."""
    print(
        f"epoch {row['epoch']:>3.0f}  loss {row['train_loss']:.4f}  score {row['train_score']:.4f}"
        f"  held-out loss {row['held_out_loss']:.4f}  score {row['held_out_score']:.4f}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a network is slower on two, and they are not always two
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in [*CASES, "transfer"]:
            raise UserError(f"name a case: {', '.join([*CASES, 'transfer'])}")
        content = load_section(HERE / "params.yaml", Params).model_dump()
        if sys.argv[1] == "transfer":
            transfer(content)
        else:
            train_case(content, sys.argv[1])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
