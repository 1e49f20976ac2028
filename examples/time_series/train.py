"""Train one case: `python train.py noise`, `motif`, `attention`, `forecast` or `transfer`."""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "src"))  # use this repository's source

from arxiv_hybrid.system.process import prepare_process  # noqa: E402

prepare_process()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pydantic import Field, model_validator  # noqa: E402
from safetensors.torch import save  # noqa: E402

from arxiv_hybrid.params import Strict, load_section  # noqa: E402
from arxiv_hybrid.system.errors import UserError, exit_on_user_error  # noqa: E402
from arxiv_hybrid.system.files import write_bytes, write_csv, write_json  # noqa: E402
from arxiv_hybrid.time_series.model import SequenceCNNLSTM  # noqa: E402
from arxiv_hybrid.time_series.series import Series, generate, split  # noqa: E402
from arxiv_hybrid.time_series.training import Epoch, evaluate, fit_sequences  # noqa: E402


class Transfer(Strict):
    """Pre-train on `source`, fine-tune on `samples` series of `target`."""

    source: Literal["motif", "dip"]
    target: Literal["motif", "dip"]
    samples: int = Field(ge=8)
    epochs: int = Field(ge=1)
    repeats: int = Field(ge=2)


class Params(Strict):
    """The content of params.yaml."""

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


class Case(NamedTuple):
    """The signal, and what differs from a classifier without attention."""

    signal: str
    forecast: bool = False
    attention: bool = False


CASES = {
    "noise": Case("null"),
    "motif": Case("motif"),
    "attention": Case("motif", attention=True),
    "forecast": Case("wave", forecast=True),
}


def new_model(params: dict[str, Any], seed: int, *, attention: bool = False) -> SequenceCNNLSTM:
    """A model with random weights."""
    torch.manual_seed(seed)
    return SequenceCNNLSTM(
        filters=params["filters"],
        kernel_size=params["kernel_size"],
        pool=params["pool"],
        hidden=params["hidden"],
        attention=params["attention"] or attention,
    )


def make_series(
    params: dict[str, Any], signal: str, samples: int, seed: int
) -> tuple[Series, Series]:
    """Training series and test series."""
    random = np.random.default_rng(seed)
    noise = params["noise"] / 10 if signal == "wave" else params["noise"]
    series = generate(signal, samples=samples, steps=params["steps"], noise=noise, random=random)
    test, train = split(series, params["test"], random)
    return train, test


def fit(
    params: dict[str, Any], model: SequenceCNNLSTM, train: Series, held_out: Series, **changes: Any
) -> list[Epoch]:
    """Train with the settings of params.yaml and `changes`."""
    settings = {key: params[key] for key in ("epochs", "batch_size", "learning_rate", "seed")}
    return fit_sequences(model, train, held_out, **{"forecast": False, **settings, **changes})


def train_case(params: dict[str, Any], name: str) -> None:
    """Train one case; write its model, its curves and its test score."""
    case = CASES[name]
    train, test = make_series(params, case.signal, params["samples"], params["seed"])
    held_out, held_out_name = test, "test"
    if params["validation"]:
        random = np.random.default_rng(params["seed"])
        held_out, train = split(train, params["validation"], random)
        held_out_name = "val"
    model = new_model(params, params["seed"], attention=case.attention)
    history = fit(params, model, train, held_out, forecast=case.forecast, on_epoch=print_epoch)
    curves = pd.DataFrame(history).rename(
        columns=lambda key: key.replace("held_out", held_out_name)
    )
    curves["epoch"] = curves["epoch"].astype(int)
    scores = evaluate(model, test, case.forecast)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    write_bytes(HERE / "models" / f"{name}.safetensors", save(weights))
    write_csv(HERE / "metrics" / f"{name}.csv", curves)
    last = curves.iloc[-1].drop("epoch").to_dict()
    write_json(HERE / "metrics" / f"{name}.json", {**last, "test": scores})
    score_name = "explained variance" if case.forecast else "accuracy"
    print(f"{name}: {score_name} on {len(test.y)} test series {scores['score']:.1%}")


def train_transfer(params: dict[str, Any]) -> None:
    """Compare random weights with pre-trained ones on few series of a new signal."""
    settings = params["transfer"]
    curves: dict[str, list[list[float]]] = {"fresh": [], "transferred": []}
    for seed in range(params["seed"], params["seed"] + settings["repeats"]):
        pretrained = new_model(params, seed)
        source, source_test = make_series(params, settings["source"], params["samples"], seed)
        fit(params, pretrained, source, source_test, seed=seed)
        samples = round(settings["samples"] / (1 - params["test"]))
        few, _ = make_series(params, settings["target"], samples, seed + 1000)
        _, test = make_series(params, settings["target"], 5 * params["samples"], seed + 2000)
        models = {"fresh": new_model(params, seed), "transferred": deepcopy(pretrained)}
        for name, model in models.items():
            history = fit(params, model, few, test, epochs=settings["epochs"], seed=seed)
            curves[name].append([epoch["held_out_score"] for epoch in history])
    means = {name: np.mean(values, axis=0) for name, values in curves.items()}
    last = {name: np.array(values)[:, -1] for name, values in curves.items()}
    gain = last["transferred"] - last["fresh"]
    table = pd.DataFrame({"epoch": range(1, settings["epochs"] + 1), **means})
    write_csv(HERE / "metrics" / "transfer.csv", table)
    report = {name: {"mean": v.mean(), "std": v.std(ddof=1)} for name, v in last.items()}
    report["gain"] = {"mean": gain.mean(), "std": gain.std(ddof=1), "least": gain.min()}
    write_json(HERE / "metrics" / "transfer.json", report)
    print(
        f"{settings['samples']} series of {settings['target']}: {means['fresh'][-1]:.1%} from "
        f"random weights, {means['transferred'][-1]:.1%} pre-trained on {settings['source']}"
    )


def print_epoch(epoch: Epoch) -> None:
    """Print one line per epoch to stderr."""
    print(
        f"epoch {epoch['epoch']:>3.0f}"
        f"  train loss {epoch['train_loss']:.4f}  score {epoch['train_score']:.4f}"
        f"  held-out loss {epoch['held_out_loss']:.4f}  score {epoch['held_out_score']:.4f}",
        file=sys.stderr,
    )


def main(arguments: list[str]) -> None:
    """Train the case that the command line names."""
    torch.set_num_threads(1)  # so small a network is slower on two threads
    cases = [*CASES, "transfer"]
    if len(arguments) != 1 or arguments[0] not in cases:
        raise UserError(f"name a case: {', '.join(cases)}")
    params = load_section(HERE / "params.yaml", Params).model_dump()
    if arguments[0] == "transfer":
        train_transfer(params)
    else:
        train_case(params, arguments[0])


if __name__ == "__main__":
    with exit_on_user_error("stopped; the same command starts again"):
        main(sys.argv[1:])
