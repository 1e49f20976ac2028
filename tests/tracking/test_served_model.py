"""The model that MLflow serves: same predictions, no pickle, only the code it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from linear_models import linear_model

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import track

pytestmark = pytest.mark.usefixtures("outside_settings_unset")

# argv: the model's folder, a JSON file of papers. mlflow itself imports pydantic and yaml, so
# what predicting imports is listed before mlflow is
LOAD_ALONE = """
import json, sys
import arxiv_hybrid.inference.checkpoint
names = ("pydantic", "yaml", "sklearn", "scipy", "mlflow", "matplotlib", "requests")
unneeded = [name for name in names if name in sys.modules]
import mlflow, pandas
papers = pandas.read_json(sys.argv[2], dtype=False)
answer = mlflow.pyfunc.load_model(sys.argv[1]).predict(papers)
files = [module.__file__ for name, module in sys.modules.items()
         if name.split(".")[0] == "arxiv_hybrid"]
print(json.dumps({"unneeded": unneeded, "files": files, "answer": answer.to_dict("list")}))
"""


@pytest.fixture
def held_out(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return splits["test"][["title", "abstract"]]


@pytest.fixture
def classifier(splits: dict[str, pd.DataFrame], tmp_path: Path) -> Classifier:
    """An untrained v1 with a vocabulary of the training papers, saved as `model`."""
    torch.manual_seed(0)
    tokens = tokenize_all(splits["train"]["abstract"])
    vocabulary = Vocabulary.build(tokens, max_size=5000, min_freq=2)
    arguments = {"vocab_size": len(vocabulary), "embed_dim": 8, "num_classes": 3,
                 "num_filters": 4, "lstm_hidden": 4}  # fmt: skip
    config = checkpoint.ModelConfig("v1", arguments, ["cs.AI-LG", "cs.CL", "cs.CV"], 12, 40, 0.1)
    checkpoint.save(tmp_path / "model", registry.build("v1", **arguments), vocabulary, config)
    return checkpoint.load(tmp_path / "model")


@pytest.fixture
def logged(
    classifier: Classifier,
    tiny_params: Params,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
) -> Path:
    """The folder in which MLflow stored the model."""
    with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.model(tmp_path / "model", classifier.config.classes)
        assert run.active
    assert not [warning for warning in recwarn if "predict" in str(warning.message)]
    (description,) = (tmp_path / "mlartifacts").rglob("MLmodel")
    return description.parent


@pytest.mark.filterwarnings("default")
def test_the_logged_model_classifies_titles_and_abstracts(
    logged: Path, classifier: Classifier, held_out: pd.DataFrame
) -> None:
    import mlflow

    served = mlflow.pyfunc.load_model(str(logged))
    answer = served.predict(held_out)
    direct = classifier.classify(held_out)
    assert len(set(direct["category"])) > 1, "the premise: papers differ"
    assert answer["category"].tolist() == direct["category"].tolist()
    classes = classifier.config.classes
    np.testing.assert_allclose(answer[classes], direct[classes])
    assert served.metadata.signature.outputs.input_names() == answer.columns.tolist()
    assert served.input_example.columns.tolist() == ["title", "abstract"]


@pytest.mark.filterwarnings("default")
def test_a_model_of_several_labels_says_them(
    tiny_params: Params, held_out: pd.DataFrame, tmp_path: Path
) -> None:
    import mlflow

    torch.manual_seed(0)
    words = Vocabulary(("<PAD>", "<UNK>", "the", "of", "a"))
    arguments = {"vocab_size": 5, "embed_dim": 8, "num_classes": 2, "num_filters": 4,
                 "lstm_hidden": 4}  # fmt: skip
    config = checkpoint.ModelConfig("v1", arguments, ["a", "b"], 12, 40, multi_label=True,
                                    biases=[0.0, 0.0], thresholds=[0.01, 0.01])  # fmt: skip
    checkpoint.save(tmp_path / "model", registry.build("v1", **arguments), words, config)
    with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.model(tmp_path / "model", ["a", "b"], multi_label=True)
        assert run.active
    (description,) = (tmp_path / "mlartifacts").rglob("MLmodel")
    served = mlflow.pyfunc.load_model(str(description.parent))
    answer = served.predict(held_out)
    outputs = served.metadata.signature.outputs
    assert outputs.input_names() == answer.columns.tolist()
    assert outputs.input_names() == ["category", "categories", "unsure", "a", "b"]
    assert [str(kind) for kind in outputs.input_types()[:3]] == [
        "DataType.string", "DataType.string", "DataType.boolean",
    ]  # fmt: skip
    assert set(answer["categories"]) <= {"a;b", "b;a"}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_linear_model_is_served_like_a_network(
    multi_label: bool, tiny_params: Params, held_out: pd.DataFrame, tmp_path: Path
) -> None:
    import mlflow

    model = linear_model(multi_label=multi_label)
    model.save(tmp_path / "model")
    with track("baseline", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.model(tmp_path / "model", model.config.classes, multi_label=multi_label)
        assert run.active
    (description,) = (tmp_path / "mlartifacts").rglob("MLmodel")
    served = mlflow.pyfunc.load_model(str(description.parent))
    answer = served.predict(held_out)
    pd.testing.assert_frame_equal(answer, model.classify(held_out))
    assert served.metadata.signature.outputs.input_names() == model.columns
    assert not list(description.parent.rglob("*.pkl"))


@pytest.mark.filterwarnings("default")
def test_nothing_is_pickled_and_requirements_are_those_of_predicting(logged: Path) -> None:
    assert not list(logged.rglob("*.pkl"))
    requirements = (logged / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in requirements} == {
        "mlflow", "numpy", "pandas", "safetensors", "torch",
    }  # fmt: skip
    assert not [line for line in requirements if "+" in line], "local versions are in no registry"


@pytest.mark.filterwarnings("default")
def test_the_logged_model_runs_on_its_own_code_alone(
    logged: Path, classifier: Classifier, held_out: pd.DataFrame, tmp_path: Path
) -> None:
    held_out.to_json(tmp_path / "papers.json", orient="records")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALONE, str(logged), str(tmp_path / "papers.json")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(logged / "code")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["unneeded"] == []
    outside = [file for file in result["files"] if not Path(file).is_relative_to(logged / "code")]
    assert outside == []
    direct = classifier.classify(held_out)
    assert result["answer"]["category"] == direct["category"].tolist()
