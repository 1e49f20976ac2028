"""What the processes of a group tell each other before they train together.

`torchrun` starts them, on one machine or on several. Through its key-value store each says first
what it will train with, or what is wrong. If one has failed, or the machines differ, all processes
end with status 2, and one process on each machine prints why.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from arxiv_hybrid.system.errors import UserError, shown

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store  # torch takes seconds to load

Facts = Mapping[str, Any]
WAIT = timedelta(minutes=5)  # for all processes to start and to read what is compared
COLLECTIVES = timedelta(minutes=30)  # PyTorch's own limit for a wait in training
PARTING = 10.0  # seconds that a process waits for the others to have printed
NAMED = 5  # differences that the message names


@dataclass(frozen=True)
class Answer:
    """What a process says: on which machine it is, and what it will train with or an error."""

    machine: int
    host: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def variable(name: str, default: int) -> int:
    """A number that torchrun sets for each process."""
    return int(os.environ.get(name, default))


def started_by_torchrun() -> bool:
    """Whether other processes may train along."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def failing_together() -> Iterator[None]:
    """Within the block, a UserError of one process ends all; for what comes before `agree`."""
    try:
        yield
    except UserError as error:
        if started_by_torchrun():
            _exchange(_answer(error=str(error)))
        raise


def agree(facts: Callable[[], Facts]) -> tuple[Store, list[str]]:
    """Compare the processes; return the store that they share, and the host of each, by rank.

    facts: what must be equal on all machines, by the name that a message gives it; asked for only
    if there are several. Ends all processes (SystemExit) if it differs, or one has failed.
    """
    several = variable("GROUP_WORLD_SIZE", 1) > 1
    with failing_together():
        answer = _answer(facts=json.loads(json.dumps(dict(facts()))) if several else {})
    store, answers = _exchange(answer)
    store.set_timeout(COLLECTIVES)
    return store, [answer.host for answer in answers]


def differences(answers: Sequence[Answer]) -> str:
    """One line about the facts in which machines differ; empty if there are none."""
    machines = {answer.machine: answer for answer in answers}.values()
    unique = len({answer.host for answer in machines}) == len(machines)
    by_name = {a.host if unique else f"machine {a.machine + 1}": a.facts for a in machines}
    names = dict.fromkeys(name for facts in by_name.values() for name in facts)
    differing = [
        _described(name, {where: facts.get(name) for where, facts in by_name.items()})
        for name in names
        if len({json.dumps(facts.get(name)) for facts in by_name.values()}) > 1
    ]
    if not differing:
        return ""
    more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    return (
        f"the machines differ in {', '.join(differing[:NAMED])}{more}; all need the same commit, "
        "params.yaml and data (git pull, dvc pull)"
    )


def _described(name: str, values: Mapping[str, Any]) -> str:
    if any(isinstance(value, str) and len(value) == 64 for value in values.values()):  # digests
        missing = [where for where, value in values.items() if value is None]
        return f"{name} (not on {', '.join(missing)})" if missing else name
    return f"{name} ({', '.join(f'{shown(value)} on {where}' for where, value in values.items())})"


def _exchange(answer: Answer) -> tuple[Store, list[Answer]]:
    """Give an answer and get those of all, by rank; ends the process if they do not agree."""
    from torch.distributed import DistNetworkError, DistStoreError

    store, rank, size = _store(), variable("RANK", 0), variable("WORLD_SIZE", 1)
    store.set(f"answer/{rank}", json.dumps(asdict(answer)))
    try:
        answers = [Answer(**json.loads(store.get(f"answer/{other}"))) for other in range(size)]
    except (DistNetworkError, DistStoreError):
        _exit(f"not all of {size} processes started within {WAIT.seconds // 60} minutes")
    failed = next((other for other in answers if other.error), None)
    if failed is not None:
        where = "" if failed.machine == answer.machine else f"{failed.host}: "
        _part(store, rank, size, f"{where}{failed.error}")
    if line := differences(answers):
        _part(store, rank, size, line)
    return store, answers


def _part(store: Store, rank: int, size: int, line: str) -> NoReturn:
    """Print the line once on this machine, and end when all machines have printed it.

    torchrun stops the other processes of a machine as soon as one has ended.
    """
    if variable("LOCAL_RANK", rank) == 0:
        print(f"error: {line}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + PARTING
    with suppress(RuntimeError):  # the process that holds the store may be gone
        waiting = store.add("parted", 1) < size
        while waiting and time.monotonic() < deadline:
            time.sleep(0.05)
            waiting = store.add("parted", 0) < size
    sys.exit(2)


def _store() -> Store:
    """The store at the address that torchrun gives; rank 0 holds it, unless torchrun does."""
    from torch.distributed import DistNetworkError, DistStoreError, TCPStore  # type: ignore[attr-defined]

    host, port = os.environ["MASTER_ADDR"], variable("MASTER_PORT", 0)
    holds = variable("RANK", 0) == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store: Store = TCPStore(host, port, is_master=holds, timeout=WAIT)
        return store
    except (DistNetworkError, DistStoreError) as error:
        reason = " ".join(str(error).split())[:200]
        _exit(
            f"{host}, the machine of the first process, cannot be reached ({reason}); if this is "
            "not its name in the network, start torchrun with --local-addr"
        )


def _exit(line: str) -> NoReturn:
    if variable("LOCAL_RANK", 0) == 0:
        print(f"error: {line}", file=sys.stderr, flush=True)
    sys.exit(2)


def _answer(facts: Facts | None = None, error: str = "") -> Answer:
    machine = variable("GROUP_RANK", 0)
    return Answer(machine, socket.gethostname(), dict(facts or {}), error)
