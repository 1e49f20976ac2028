"""The library alone, and with an extra: what pip installs is enough for what it is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pandas as pd
import pytest
import requests
from conftest import ROOT
from linear_models import linear_model
from packaging.requirements import Requirement
from ports import free_port

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
import json, sys
from pathlib import Path
import arxiv_hybrid
folder, linear = Path(sys.argv[1]), sys.argv[2]
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
print(json.dumps({**answers, "status": status, "file": arxiv_hybrid.__file__}))
"""
TRAIN = """
import arxiv_hybrid.training.classifier, arxiv_hybrid.evaluation.linear, arxiv_hybrid.data.splits
import arxiv_hybrid.data.labels, arxiv_hybrid.evaluation.report, arxiv_hybrid.params.recipes
from arxiv_hybrid.__main__ import main
for name in ("papers.csv", "dump.json"):
    assert main(["data", "inspect", name]) == 0
"""


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as `pip install .` builds it, with this environment's setuptools."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder)
    (built,) = folder.glob("*.whl")
    return built


def pip(*arguments: str | Path) -> None:
    """Run pip without a network and without its configuration, so that it finds no packages."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--no-index", "--quiet"],
        env={**settings, "PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def needed(wheel: Path, extra: str) -> dict[str, Distribution]:
    """What the library needs with an extra, from the metadata of the installed packages."""
    found: dict[str, Distribution] = {}
    (library,) = distributions(path=[str(wheel)])
    waiting, seen = [(library, extra)], {("arxiv-hybrid", extra)}
    while waiting:
        package, wanted = waiting.pop()
        for requirement in map(Requirement, package.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            name = canonical(requirement.name)
            if name == "arxiv-hybrid":
                required = library
            else:
                required = found[name] = found.get(name) or distribution(name)
            for each in {(name, ""), *((name, more) for more in requirement.extras)} - seen:
                seen.add(each)
                waiting.append((required, each[1]))
    return found


def install(wheel: Path, folder: Path, extra: str = "") -> Path:
    """The programs of a new environment with the library and the packages that it needs only.

    They are links to this environment's. pip installs the library without a network, so it fails
    if they are not all that the library and they need.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    programs = folder / "bin"
    (site,) = folder.glob("lib/python*/site-packages")
    for package in needed(wheel, extra).values():
        for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))))
    pip("--python", programs / "python", "install", f"{wheel}[{extra}]" if extra else wheel)
    return programs


def run_alone(*command: str | Path, folder: Path) -> str:
    """What a command prints in a folder outside the repository, without PYTHONPATH."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(code: str, missing: list[str], *, folder: Path) -> str:
    command = [sys.executable, "-c", BLOCKED + code, json.dumps(missing)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_four_packages_are_enough_to_predict(wheel: Path, tmp_path: Path) -> None:
    direct = {"numpy", "pandas", "safetensors", "torch"}
    (library,) = distributions(path=[str(wheel)])
    required = [Requirement(line) for line in library.requires or []]
    assert {each.name for each in required if not each.marker} == direct
    unwanted = {"scikit-learn", "scipy", "pyarrow", "pydantic", "pyyaml", "mlflow", "dvc"}
    assert not unwanted & {*needed(wheel, "")}
    programs = install(wheel, tmp_path / "env")
    typed = ["predict", "--title", "Speech recognition", "--abstract", "A corpus of speech."]
    assert run_alone(programs / "arxiv-hybrid", *typed, folder=tmp_path).startswith("cs.CL ")
    linear_model().save(tmp_path / "linear")
    papers = pd.DataFrame({"title": ["Speech", ""], "abstract": ["A corpus.", "deep"], "label": 7})
    papers.to_csv(tmp_path / "papers.csv", index=False)
    (tmp_path / ".out.csv.4194304.tmp").write_text("of a process that was killed")
    arguments = (programs / "python", "-c", PREDICT, tmp_path, tmp_path / "linear")
    answers = json.loads(run_alone(*arguments, folder=tmp_path).splitlines()[-1])
    assert answers["file"].startswith(str(tmp_path))
    assert answers["status"] == [0] * 6
    assert answers["shipped"] == "cs.CL"
    assert answers["linear"] in ("cs.CL", "cs.CV")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2


def test_the_extra_of_training_is_enough_to_train(wheel: Path, tmp_path: Path) -> None:
    assert not {"mlflow", "dvc"} & {*needed(wheel, "train")}
    programs = install(wheel, tmp_path / "env", "train")
    (tmp_path / "papers.csv").write_text("title,abstract,category\nSpeech,A corpus.,cs.CL\n")
    record = {"id": "2511.00001", "title": "Speech", "abstract": "A corpus.", "categories": "cs.CL",
              "versions": [{"created": "Mon, 3 Nov 2025 00:00:00 GMT"}]}  # fmt: skip
    (tmp_path / "dump.json").write_text(json.dumps(record) + "\n")
    assert "cs.CL" in run_alone(programs / "python", "-c", TRAIN, folder=tmp_path)


def test_the_extra_of_serving_is_enough_to_serve(wheel: Path, tmp_path: Path) -> None:
    assert not {"dvc", "optuna"} & {*needed(wheel, "serve")}
    programs, port = install(wheel, tmp_path / "env", "serve"), free_port()
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [programs / "arxiv-hybrid", "serve", "--port", str(port)],
            cwd=tmp_path, env=settings, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        while server.poll() is None and "requests:" not in (tmp_path / "log").read_text():
            time.sleep(0.1)
        assert server.poll() is None, (tmp_path / "log").read_text()
        for kind, body in (
            ("application/json", '{"inputs": [{"title": "Speech", "abstract": "A corpus."}]}'),
            ("text/csv", "title,abstract\nSpeech,A corpus.\n"),
        ):
            sent = requests.post(
                f"{url}/invocations", body, headers={"Content-Type": kind}, timeout=60
            )
            assert sent.json()["predictions"][0]["category"] == "cs.CL", sent.text
        assert "<title>" in requests.get(url, timeout=60).text
    finally:
        server.terminate()
        assert server.wait() == 0, (tmp_path / "log").read_text()


def test_importing_the_package_loads_nothing(tmp_path: Path) -> None:
    code = """
import arxiv_hybrid
loaded = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps(sorted(name for name in loaded if not name.startswith("_"))))
"""
    loaded = json.loads(run(code, [], folder=tmp_path))
    assert not {"torch", "numpy", "pandas", "yaml"} & {*loaded}
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


def test_every_pinned_package_is_installed_by_an_extra(wheel: Path) -> None:
    pinned = {
        canonical(name) for name in re.findall(r"^([\w-]+)==", text_of("requirements.txt"), re.M)
    }
    assert pinned <= {*needed(wheel, ""), *needed(wheel, "dev")}
    stages = text_of("requirements.txt").split("# tests and checks")[0]
    used = {canonical(name) for name in re.findall(r"^([\w-]+)==", stages, re.M)}
    assert used <= {*needed(wheel, ""), *needed(wheel, "pipeline"), "shtab"}
