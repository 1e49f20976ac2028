"""The state of an unfinished training run, from which the same run resumes after it was killed.

It is one safetensors file: tensors, and all else as JSON in its header. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save_file
from torch import Tensor, nn

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.inference.model_config import CONFIG
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.digests import of_file
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.training.distributed import SINGLE, Group

State = dict[str, Any]  # nested dicts and lists of tensors, numbers, strings, None
FILE = "progress.safetensors"
CODE = ("inference", "models", "ops", "training")  # packages that decide what training computes
# saving may take this many seconds, and this share of the time since training started
ALLOWANCE, SHARE = 0.2, 0.01
NAMED = 3  # changes that the message names


class Progress:
    """Saves the state of one training run into a folder after epochs, and finds it again.

    identity: what the run depends on, by name; a state of another run is not resumed. Of several
    processes one on each machine reads and writes. Short epochs are not all saved: see `ALLOWANCE`.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        group: Group = SINGLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = folder / FILE
        self.identity: State = json.loads(json.dumps(dict(_leaves(identity))))
        self.group, self._clock = group, clock
        self._started, self._spent, self._last = clock(), 0.0, 0.0
        self._is_writable = True

    def load(self) -> State | None:
        """The saved state of this very run, in all processes; None to start anew.

        Of several machines the one that is furthest gives its state to all. If none has one, a line
        says why a state that exists cannot be used.
        """
        content, epochs, problem = self._stored() if self.group.writes_files else (b"", 0, "")
        has = [len(content) > 0, epochs]
        reached = [json.loads(text) for text in self.group.gather(json.dumps(has).encode())]
        furthest = reached.index(max(reached))
        if not reached[furthest][0]:
            if problem:
                _print(problem)
            return None
        if self.group.is_main and furthest:
            _print(f"{self.path}: taken from {self.group.hosts[furthest]}, which is the furthest")
        state: State = _decode(self.group.broadcast(content, furthest))["state"]
        return state

    def is_due(self) -> bool:
        """Whether to save after this epoch: by one process on each machine, if it has the time."""
        allowed = ALLOWANCE + SHARE * (self._clock() - self._started)
        is_cheap = not self._spent or self._spent + self._last <= allowed
        return self.group.writes_files and self._is_writable and is_cheap

    def save(self, state: State) -> None:
        """Replace the saved state. If that fails, one line says so and training continues."""
        before = self._clock()
        try:
            with atomic(self.path) as temporary:
                _write(temporary, {"identity": self.identity, "state": state})
        except (OSError, SafetensorError) as error:
            self._is_writable = False
            _print(f"{self.path}: cannot be written, so this run cannot be resumed: {error}")
        self._last = self._clock() - before
        self._spent += self._last

    def _stored(self) -> tuple[bytes, int, str]:
        """The file, if it is the state of this run, and its number of epochs; or what is wrong."""
        try:
            content = self.path.read_bytes()
            decoded = _decode(content)
            stored, epochs = decoded["identity"], len(decoded["state"].get("epochs", ()))
        except FileNotFoundError:
            return b"", 0, ""
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:100]
            return b"", 0, f"{self.path}: damaged, starting anew ({reason})"
        names = {**self.identity, **stored}
        changed = [name for name in names if stored.get(name) != self.identity.get(name)]
        if changed:
            more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            return b"", 0, f"starting anew: {', '.join(changed[:NAMED])}{more} changed"
        return content, epochs, ""


def discard(folder: Path) -> None:
    """Remove the saved state of a run that is finished, and what a killed one left beside it."""
    shutil.rmtree(folder, ignore_errors=True)


def run_identity(
    settings: Mapping[str, Any],
    model: nn.Module,
    papers: Mapping[str, EncodedPapers],
    device_config: DeviceConfig,
    group: Group = SINGLE,
) -> dict[str, Any]:
    """All that a training run depends on, by the name that a message gives it.

    settings: parameters in force. model: before training. papers: by name.
    """
    return {
        **settings,
        **{name: _papers_digest(part) for name, part in papers.items()},
        "initial weights": _weights_digest(model),
        "device": device_config.device.type,
        "precision": device_config.precision,
        "processes": group.size,
        "torch": torch.__version__,
        "code": _code_digest(CODE),
    }


def shared_facts(
    params: Params, device_config: DeviceConfig, files: Iterable[Path], encoder: Path | None
) -> dict[str, Any]:
    """What must be equal on all machines that train together, by the name that a message gives it.

    files: what the run reads; encoder: the folder of a pre-trained one. A missing file is None.
    """
    read = {path.as_posix(): path for path in files}
    if encoder:
        read["the encoder of pretrained"] = encoder / CONFIG  # which holds the others' digests
    written = params.model_dump(mode="json", by_alias=True, exclude={"tracking"})
    return {
        **dict(_leaves(written)),
        "device": device_config.device.type,
        "precision": device_config.precision,
        "torch": torch.__version__,
        **{name: of_file(path) if path.is_file() else None for name, path in read.items()},
        "the code in src": _code_digest(("",)),
    }


def _papers_digest(papers: EncodedPapers) -> str:
    return _digest([papers.title_ids, papers.abstract_ids, papers.labels])


def _weights_digest(model: nn.Module) -> str:
    weights = model.state_dict()
    return _digest(list(weights.values()), json.dumps(list(weights)))


def _code_digest(packages: Iterable[str]) -> str:
    root = Path(__file__).parents[1]
    files = sorted(path for name in packages for path in (root / name).rglob("*.py"))
    return _digest([], *(path.read_text(encoding="utf-8") for path in files))


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values by dotted name, for example `architecture.lstm_hidden`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", item) for key, item in _leaves(value))
        else:
            yield name, value


def _write(path: Path, content: State) -> None:
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_without_tensors(content, tensors))
    checksum = _checksum(text, tensors)
    save_file(tensors, path, metadata={"content": text, "checksum": checksum})


def _decode(data: bytes) -> State:
    """Inverse of `_write`; raises ValueError, KeyError or SafetensorError if it is damaged."""
    tensors = deserialize(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    if _checksum(metadata["content"], tensors) != metadata["checksum"]:
        raise ValueError("its checksum is wrong")
    content: State = _with_tensors(json.loads(metadata["content"]), tensors)
    return content


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` for JSON: its tensors move to `tensors`, dicts become pairs, as keys may be ints."""
    if isinstance(value, Tensor):
        name = f"{len(tensors):06}"
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, _without_tensors(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(item, tensors) for item in value]
    return value


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _with_tensors(item, tensors) for key, item in value["pairs"]}
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    return value


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of everything: fast, and enough against damage."""
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(_bytes(tensor), crc)
    return f"{crc:08x}"


def _digest(tensors: list[Tensor], *texts: str) -> str:
    """SHA-256 of texts and tensors, shortened."""
    result = hashlib.sha256("\0".join(texts).encode())
    for tensor in tensors:
        result.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        result.update(_bytes(tensor.detach().cpu().contiguous()))
    return result.hexdigest()[:16]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data
