"""YAML of this project and of DVC: what PyYAML reads, without its slowness or libyaml's crash."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from arxiv_hybrid.system import fast_yaml

PARTS = ("[", "{a: ", "- ", "? ", "[\n", "- [")


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock", "tests/defaults/params.yaml"])
def test_it_reads_what_the_plain_loader_reads(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert fast_yaml.parse(text) == yaml.safe_load(text)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("levels", [900, 200_000])
def test_deep_nesting_is_an_error_and_not_the_end_of_the_process(part: str, levels: int) -> None:
    code = (
        "import sys, yaml\nfrom arxiv_hybrid.system import fast_yaml\n"
        "try: fast_yaml.parse(sys.argv[1] * int(sys.argv[2]))\n"
        "except yaml.YAMLError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, part, str(levels)], capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) in ((0, "refused\n"), (0, "")), done.stderr[-300:]
    if levels > 1000:
        assert done.stdout == "refused\n"
