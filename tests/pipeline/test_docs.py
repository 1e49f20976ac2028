"""Every command in the documentation is run here, or its block is marked with a reason."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import requests
import yaml
from clones import environment, set_params, sh
from conftest import DEFAULTS, ROOT

from arxiv_hybrid import __version__
from arxiv_hybrid.__main__ import parser
from arxiv_hybrid.params import parse
from arxiv_hybrid.search.space import read_space
from arxiv_hybrid.sources import synthetic

pytestmark = pytest.mark.pipeline
WHY_NOT = {
    "network": "needs the network, or papers that come from it",
    "gpu": "needs a GPU",
    "long": "make repro, make test and the examples: what other tests run",
    "server": "runs below, with a server beside it",
    "killed": "needs a job whose worker was killed; tried by hand",
    "bag": "runs below, with the model it needs",
    "search": "takes long; test_search_postgres runs a small one",
    "team": "runs in test_team_server.py, with the services it needs",
}
# not what a user keeps beside them, such as notes or the card of a model
PAGES = sorted(
    [
        *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
        *ROOT.glob("docs/*.md"),
        *(ROOT / name / "README.md" for name in ("benchmarks", "data", "pretraining")),
        *ROOT.glob("examples/*/README.md"),
    ]
)
LONG = ("docs/own-data.md", "docs/parameters.md")  # see test_docs_of_parameters


@dataclass(frozen=True)
class Block:
    page: str
    kind: str
    text: str


def blocks(path: Path) -> list[Block]:
    matches = re.findall(r"^```([^\n]*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)
    return [Block(str(path.relative_to(ROOT)), kind.strip(), text) for kind, text in matches]


BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.fixture(scope="module")
def project(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the run repository, with the files that the documentation mentions."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    shutil.copytree(repo, folder, symlinks=True)
    set_params(folder, {"ensemble": {"members": []}})  # which other tests run
    papers = synthetic.generate(papers=200, label_noise=0.05, seed=5)[0].drop_duplicates("id")
    papers.to_csv(folder / "arxiv_papers.csv.gz", index=False)
    own = papers[["title", "abstract"]].rename(columns=str.title)
    own.assign(topic=papers["primary_category"]).to_csv(folder / "my_papers.csv", index=False)
    for name in ("papers", "new_papers", "library"):
        papers.head(20).to_csv(folder / f"{name}.csv", index=False)
        papers.head(20).to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-qm", "files of the documentation")
    yield folder
    sh(folder, "dvc", "queue", "kill", "--all", ok=False)


def test_every_block_has_a_known_kind() -> None:
    kinds = {block.kind for block in BLOCKS}
    assert kinds <= {"sh", "python", "text", "mermaid", *(f"sh {why}" for why in WHY_NOT)}
    assert {page.name for page in PAGES} >= {"README.md", "own-data.md", "own-model.md"}
    assert sum(block.kind == "sh" for block in BLOCKS) >= 10


@pytest.mark.parametrize(
    "page", [name for name in map(str, (p.relative_to(ROOT) for p in PAGES)) if name not in LONG]
)
def test_the_commands_of_a_page(project: Path, page: str) -> None:
    run_commands(project, page)


def run_commands(project: Path, page: str) -> None:
    """Run the blocks of a page one after the other; each must succeed."""
    sh(project, "git", "checkout", "params.yaml")  # a page does not depend on another
    for block in BLOCKS:
        if block.page != page or block.kind != "sh":
            continue
        text = block.text.replace("/tmp/arxiv-hybrid-remote", str(project.parent / "remote"))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=project, env=environment(warm=True),
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if "dvc queue start" in text:
            wait_for_queue(project)


def wait_for_queue(project: Path) -> None:
    """Wait until all jobs have ended, and check that they succeeded.

    DVC's command fails when it reads the state of a job that DVC is writing just then.
    """
    deadline = time.monotonic() + 200
    while (status := sh(project, "dvc", "queue", "status", ok=False)).returncode or re.search(
        r"\b(Queued|Running)\b", status.stdout
    ):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status.stdout.count("Success") >= 2, status
    assert "Failed" not in status.stdout, status


def test_the_python_of_the_docs(project: Path) -> None:
    pages = ("README.md", "docs/own-data.md", "docs/tracking.md")
    examples = [block for block in BLOCKS if block.page in pages and block.kind == "python"]
    assert len(examples) == 3
    for block in examples:
        sh(project, "python", "-c", block.text)


def test_a_model_of_your_own(repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(repo, folder, symlinks=True)
    set_params(folder, {"architecture": {"num_filters": None, "lstm_hidden": None}})
    model, registry, config = [
        block.text for block in blocks(ROOT / "docs/own-model.md") if block.kind == "python"
    ]
    assert len([line for line in model.splitlines() if line.strip()]) < 40
    package = folder / "src/arxiv_hybrid"
    (package / "models/bag.py").write_text(model, encoding="utf-8")
    path = package / "models/registry.py"
    entry = registry.replace('MODELS["bag"]', '\n\nMODELS["bag"]', 1)
    path.write_text(path.read_text() + entry, encoding="utf-8")
    path = package / "params/schema.py"
    schema = path.read_text(encoding="utf-8")
    for name in re.findall(r'"(\w+)"', config):
        assert f'"{name}"' in schema or name == "bag"
    changed, count = re.subn(r"^ModelName = .*$", config.strip(), schema, flags=re.M)
    assert count == 1
    path.write_text(changed, encoding="utf-8")
    (command,) = [b.text for b in blocks(ROOT / "docs/own-model.md") if b.kind == "sh bag"]
    sh(folder, *command.split())
    config = json.loads((folder / "models/main/model.json").read_text())
    assert config["model"] == "bag"
    assert json.loads((folder / "metrics/evaluate.json").read_text())["accuracy"] > 0.3
    page = (folder / "reports/attention.html").read_text()
    assert "Model: bag" in page


def test_the_search_of_the_docs_is_possible(tmp_path: Path) -> None:
    (block,) = [b.text for b in blocks(ROOT / "docs/sweeping.md") if b.kind == "sh search"]
    (written,) = re.findall(r"<<END\n(.*)^END$", block, re.M | re.S)
    (tmp_path / "space.yaml").write_text(written, encoding="utf-8")
    params = yaml.safe_load((DEFAULTS / "params.yaml").read_text(encoding="utf-8"))
    space = read_space(tmp_path / "space.yaml", params, partial(parse, where="space.yaml"))
    assert list(space) == ["dropout", "learning_rate", "batch_size"]
    for command in re.findall(r"^python -m arxiv_hybrid (.*?)(?: +#.*)?$", block, re.M):
        assert parser().parse_args(shlex.split(command)).command in ("search", "report")


def test_the_scoring_server_answers_the_documented_question(project: Path) -> None:
    sh(project, "git", "checkout", "params.yaml")
    sh(project, "dvc", "exp", "run", "-f", "-S", "tracking.log_model=true", "train")
    (curl,) = [b.text for b in blocks(ROOT / "README.md") if "curl" in b.text]
    question = re.search(r"-d '([^']*)'", curl)
    assert question is not None
    with subprocess.Popen(
        ["python", "-m", "arxiv_hybrid", "serve", "--port", "5047"], cwd=project, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as server:  # fmt: skip
        try:
            url = "http://127.0.0.1:5047"
            deadline = time.monotonic() + 90
            while True:
                assert server.poll() is None, server.stdout and server.stdout.read()
                assert time.monotonic() < deadline
                try:
                    if requests.get(f"{url}/ping", timeout=5).ok:
                        break
                except requests.ConnectionError:
                    time.sleep(0.2)
            kind = {"Content-Type": "application/json"}

            def ask(text: str) -> requests.Response:
                return requests.post(f"{url}/invocations", data=text, headers=kind, timeout=60)

            answer = ask(question[1])
            assert answer.status_code == 200
            assert answer.json()["predictions"][0]["category"] in ("cs.AI-LG", "cs.CL", "cs.CV")
            for wrong, reason in (
                ("{", "valid JSON"),
                ('{"dataframe_records": [{"title": "x"}]}', "missing inputs"),
                ('{"dataframe_records": [{"title": null, "abstract": "x"}]}', "needs a title"),
            ):
                refused = ask(wrong)
                assert refused.status_code == 400, wrong
                assert reason in refused.json()["message"]
        finally:
            subprocess.run(["pkill", "-TERM", "-s", str(server.pid)], check=False)


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {__version__}\n" in text
    assert "license: Apache-2.0" in text


def test_link_targets_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_predictions_of_the_documentation_are_complete(project: Path) -> None:
    if not (project / "predictions.csv").is_file():
        pytest.fail("the commands of README.md and docs/own-data.md write predictions.csv")
    assert len(pd.read_csv(project / "predictions.csv")) == 20
