"""Record digests of the files that params.yaml names, so that DVC notices a change in one."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from arxiv_hybrid.paths import FINGERPRINTS
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.fingerprints import read_params, write_fingerprints


def main() -> None:
    """Write inputs.json."""
    params = read_params(HERE / "params.yaml")
    names = {name: params.get(name) for name in ("texts", "leave_out")}
    root = Path(os.environ.get("DVC_ROOT", HERE.parent)).resolve()
    write_fingerprints(HERE / "inputs.json", names, root, root / FINGERPRINTS)


if __name__ == "__main__":
    with exit_on_user_error("stopped; the same command continues with this stage"):
        main()
