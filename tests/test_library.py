"""The library alone: what `pip install arxiv-hybrid` installs is enough to load and predict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from linear_models import linear_model

import arxiv_hybrid
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.system.errors import UserError

# argv: JSON of the modules that are not installed, and what else a test needs
BLOCKED = """
import json, sys
missing = set(json.loads(sys.argv[1]))
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""
PREDICT = """
from pathlib import Path
import arxiv_hybrid
folder, linear = Path(sys.argv[2]), sys.argv[3]
papers = [("Speech recognition", "We present a corpus of read speech.")]
shipped = arxiv_hybrid.load()
answers = {"shipped": shipped.classify(papers)["category"][0],
           "linear": arxiv_hybrid.load(linear).classify(papers)["category"][0]}
from arxiv_hybrid.__main__ import main
status = []
for model in ([], ["--model", linear]):
    for output in ("out.csv", "out.jsonl"):
        files = ["--input", str(folder / "papers.csv"), "--output", str(folder / output)]
        status.append(main(["predict", *files, *model]))
    status.append(main(["predict", "--title", "Speech", "--abstract", "A corpus.", *model]))
print(json.dumps({**answers, "status": status}))
"""


def dependencies() -> list[str]:
    """The packages that pyproject.toml requires, without extras."""
    (listed,) = re.findall(r"^dependencies = \[(.*?)\]", text_of("pyproject.toml"), re.M | re.S)
    return re.findall(r'"([\w-]+)', listed)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def extra(name: str) -> list[str]:
    """The packages of an extra in pyproject.toml."""
    (listed,) = re.findall(rf"^{name} = \[(.*)\]$", text_of("pyproject.toml"), re.M)
    return re.findall(r'"([\w-]+)', listed)


def others(required: list[str]) -> list[str]:
    """All installed modules that are neither of the required packages nor needed by them."""
    installed, waiting = set[str](), [*required]
    while waiting:
        name = canonical(waiting.pop())
        if name in installed:
            continue
        installed.add(name)
        try:
            needed = distribution(name).requires or []
        except ModuleNotFoundError:
            continue  # of another platform
        parts = [line.partition(";") for line in needed]
        waiting += [re.split(r"[^\w.-]", each[0])[0] for each in parts if "extra" not in each[2]]
    return [
        module
        for module, names in packages_distributions().items()
        if not installed & {canonical(name) for name in names} and module != "arxiv_hybrid"
    ]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run(code: str, missing: list[str], *arguments: str, folder: Path) -> str:
    command = [sys.executable, "-c", BLOCKED + code, json.dumps(missing), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_five_packages_are_enough_to_predict(tmp_path: Path) -> None:
    missing = others(dependencies())
    wanted = {"sklearn", "scipy", "pyarrow", "pydantic", "yaml", "pandera", "shtab", "psutil"}
    assert wanted <= {*missing, *(name for name in wanted if find_spec(name) is None)}
    assert not {"torch", "numpy", "pandas", "safetensors"} & {*missing}
    linear_model().save(tmp_path / "linear")
    papers = pd.DataFrame({"title": ["Speech", ""], "abstract": ["A corpus.", "deep"], "label": 7})
    papers.to_csv(tmp_path / "papers.csv", index=False)
    (tmp_path / ".out.csv.4194304.tmp").write_text("of a process that was killed")
    last = run(PREDICT, missing, str(tmp_path), str(tmp_path / "linear"), folder=tmp_path)
    answers = json.loads(last)
    assert answers["status"] == [0] * 6
    assert answers["shipped"] == "cs.CL"
    assert answers["linear"] in ("cs.CL", "cs.CV")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2


def test_the_extra_of_training_is_enough_to_train(tmp_path: Path) -> None:
    code = """
import arxiv_hybrid.training.classifier, arxiv_hybrid.evaluation.linear, arxiv_hybrid.data.splits
import arxiv_hybrid.data.labels, arxiv_hybrid.evaluation.report, arxiv_hybrid.params.recipes
print("imported")
"""
    missing = others([*dependencies(), *extra("train"), "packaging"])  # safetensors[torch]'s
    assert "mlflow" in missing
    assert run(code, missing, folder=tmp_path) == "imported"


def test_importing_the_package_loads_nothing(tmp_path: Path) -> None:
    code = """
import arxiv_hybrid
loaded = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps(sorted(name for name in loaded if not name.startswith("_"))))
"""
    loaded = json.loads(run(code, [], folder=tmp_path))
    assert not {"torch", "numpy", "pandas", "yaml", "tqdm"} & {*loaded}
    assert "arxiv_hybrid" in loaded


@pytest.mark.parametrize("kind", ["network", "linear", "shipped"])
def test_load_gives_a_classifier_with_a_short_repr(
    kind: str, model_folder: Path, tmp_path: Path
) -> None:
    linear_model().save(tmp_path / "linear")
    folder = {"network": str(model_folder), "linear": tmp_path / "linear", "shipped": None}[kind]
    classifier = arxiv_hybrid.load(folder)
    start, classes = {
        "network": ("<Classifier: v1 with 3 classes, saved without a record", 3),
        "linear": ("<LinearClassifier: linear model with 2 classes, trained on 30 papers", 2),
        "shipped": ("<Classifier: v6 with 152 classes, pre-trained on", 152),
    }[kind]
    assert repr(classifier).startswith(start)
    for shown in (repr(classifier), repr(classifier.vocabulary)):
        assert len(shown) < 300
    table = pd.DataFrame({"title": ["Deep"], "abstract": ["words"], "label": ["mine"], "id": [7]})
    assert len(classifier.classify(table).columns) == classes + 2 + classifier.config.multi_label


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/model\.safetensors: not found"):
        arxiv_hybrid.load(tmp_path / "nowhere")
    assert checkpoint.load is not arxiv_hybrid.load


def test_completion_says_what_to_install(tmp_path: Path) -> None:
    code = """
from arxiv_hybrid.__main__ import main
try:
    main(["--print-completion", "bash"])
except SystemExit as ended:
    print(ended.code)
"""
    command = [sys.executable, "-c", BLOCKED + code, '["shtab"]']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2"
    assert done.stderr.endswith(
        "error: --print-completion needs shtab, which is not installed; run `pip install "
        "'arxiv-hybrid[completion]'`\n"
    )


def test_every_pinned_package_is_required_by_the_library_or_an_extra() -> None:
    listed = {canonical(name) for name in re.findall(r'"([\w-]+)[>\[]', text_of("pyproject.toml"))}
    pinned = text_of("requirements.txt").split("# tests and checks")[0]
    names = {canonical(name) for name in re.findall(r"^([\w-]+)==", pinned, re.M)}
    assert names <= listed, "a package of the pipeline that no extra installs"
