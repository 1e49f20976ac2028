"""The seconds that the stages of one pipeline may wait for MLflow, all together."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

# with the import of mlflow at most 15 seconds until a stage starts, and 30 seconds in all
START, TOTAL = 12.0, 27.0
_LIFETIME = 86_400  # seconds


class Budget:
    """What this pipeline may still wait. Later stages remember it through a file.

    file: None if there are no later stages. local: whether the store is a database on this
    machine, whose work counts only if it fails. left: in seconds.
    """

    def __init__(self, file: Path | None, *, local: bool = False) -> None:
        self._file = file
        self._local = local
        self.left = TOTAL - self._waited_before()
        self.start = min(START, self.left)

    @classmethod
    def of_pipeline(cls, root: Path, uri: str) -> Budget:
        """The budget of the DVC command that runs this stage, for one MLflow store."""
        folder, owner = root / ".dvc", _dvc_process()
        if owner is None or not folder.is_dir():
            return cls(None)
        local = uri.startswith("sqlite")
        key = hashlib.sha256(f"{owner} {uri}".encode()).hexdigest()[:16]
        return cls(folder / "tmp" / f"mlflow-waits.{key}.json", local=local)

    def save(self) -> None:
        """Leave later stages of this pipeline what is left."""
        if self._file is None or (self._local and self.left > 0):
            return
        from arxiv_hybrid.system.files import write_json  # loads pandas

        try:
            for other in self._file.parent.glob("mlflow-waits.*.json"):
                if other.stat().st_mtime < time.time() - _LIFETIME:
                    other.unlink(missing_ok=True)
            write_json(self._file, {"waited": TOTAL - self.left})
        except OSError:
            self._file = None  # the disk is full: each stage has a budget of its own

    def exhaust(self) -> None:
        """Later stages of this pipeline do not try MLflow any more."""
        self.left = 0.0
        self.save()

    def _waited_before(self) -> float:
        try:
            content: Any = json.loads(self._file.read_text("utf-8")) if self._file else {}
            return float(content.get("waited", 0.0))
        except (OSError, ValueError, AttributeError, TypeError):
            return 0.0


def _dvc_process() -> str | None:
    """Pid and start time of the DVC command that started this process, if one did."""
    import psutil

    try:
        for process in psutil.Process().parents():
            if any(Path(argument).name == "dvc" for argument in process.cmdline()[:3]):
                return f"{process.pid} {process.create_time():.0f}"
    except psutil.Error:
        return None
    return None
