"""A study that workers on any machines share: which trial comes next, and which was lost.

A worker leaves a beat in its trial now and then. A trial is lost if its worker has provably ended,
or if its beat has not changed for `SILENCE` on the observer's clock. The first observer that marks
it as failed queues its values again, as a new trial. A worker that is killed between these two
steps loses the values, but not the trial: the study still ends with as many as were asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from arxiv_hybrid.search.space import Space, used_values
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.identity import ProcessIdentity

BEAT = 15.0  # seconds between the beats of a worker
SILENCE = 120.0  # seconds without one after which a trial is lost
_PAUSES = (1, 2, 4, 8, 16, 32)  # seconds between attempts, while the server cannot be reached
FEWEST = 5  # finished trials that tell which parameters matter
# attributes of trials and studies
_WORKER, _BEAT, _ERROR, _RETRIES, _DEFINITION = "worker", "beat", "error", "retries", "definition"
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
ENDED = ("finished", "pruned", "failed")

Sampler = Callable[[int], BaseSampler]  # of a seed
Answer = TypeVar("Answer")


class LostTrialError(Exception):
    """Another worker has taken over this worker's trial."""


@dataclass(frozen=True)
class Result:
    """A trial of a study. values: of its parameters. score: the best one, a share, None if unknown.

    state: finished, pruned, failed, running or waiting. epochs: the last one reported. retries: the
    number of the trial that was lost and is repeated by this one.
    """

    number: int
    values: dict[str, Any]
    state: str
    score: float | None = None
    epochs: int | None = None
    error: str | None = None
    retries: int | None = None


class Study:
    """The trials of one search, up to a total over all workers and starts.

    settings: parameters that are the same in all trials; with the space they define the study, so
    that another search under its name is refused. score: what is maximized, for people. sampler:
    seeded anew for each trial by `seed` and its number, so that one worker draws the same trials in
    every search.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: Space,
        settings: Mapping[str, Any],
        *,
        score: str,
        total: int,
        seed: int = 0,
        sampler: Sampler | None = None,
        pruner: BasePruner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.space, self.score, self.total = name, space, score, total
        self._seed, self._sampler, self._clock = seed, sampler or _tpe, clock
        self._seen: dict[int, tuple[object, float]] = {}  # beats, and when they were new
        self._study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True,
            sampler=self._sampler(seed), pruner=pruner or MedianPruner(),
        )  # fmt: skip
        self._define(settings)

    def _define(self, settings: Mapping[str, Any]) -> None:
        """Record what is searched; UserError if this study has begun with something else."""
        space = {key: json.loads(distribution_to_json(value)) for key, value in self.space.items()}
        ours: dict[str, Any] = {"space": space, "settings": dict(settings), "score": self.score}
        theirs = self._study.user_attrs.get(_DEFINITION)
        if theirs is None:
            self._study.set_user_attr(_DEFINITION, ours)
        elif theirs != json.loads(json.dumps(ours)):
            old, new = ({**each["space"], **each["settings"]} for each in (theirs, ours))
            changed = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
            raise UserError(
                f"--study: {self.name} has begun with another space or other settings "
                f"({', '.join(changed)}); give this search a name of its own with --study"
            )

    def importances(self) -> dict[str, float]:
        """How much each parameter matters for a good score, the most first; they sum to 1.

        By PED-ANOVA (Watanabe et al. 2023). Empty with fewer than `FEWEST` finished trials, or if
        all have the same score.
        """
        scores = [each.score for each in self.results() if each.state == "finished"]
        if len(scores) < FEWEST or len(set(scores)) == 1:
            return {}
        return optuna.importance.get_param_importances(self._study)

    def enqueue(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Try these values first; those that the study has already are left out."""
        for values in points:
            self._study.enqueue_trial(dict(values), skip_if_exists=True)

    def results(self) -> list[Result]:
        """All trials without those that were lost, by number."""
        return [_result(trial, self.space) for trial in self._counted()]

    def unfinished(self) -> int:
        """How many trials are waiting or running, here or elsewhere."""
        return sum(not trial.state.is_finished() for trial in self._counted())

    def next_trial(self) -> Trial | None:
        """The next trial of this worker; None if all are taken."""
        counted = self._counted()
        waiting = any(trial.state == TrialState.WAITING for trial in counted)
        if not waiting and len(counted) >= self.total:
            return None
        asked = self._study.ask()
        trial = Trial(self._study, asked, self.space, self._clock)
        before = sum(other.number < asked.number for other in self._counted())
        if before >= self.total:  # another worker asked at the same moment
            self._study.tell(asked, state=TrialState.FAIL)
            return None
        entropy = np.random.SeedSequence([self._seed, asked.number])
        self._study.sampler = self._sampler(int(entropy.generate_state(1)[0]))
        trial.draw()
        return trial

    def take_over(self) -> list[int]:
        """Queue the trials of workers that are gone again; the numbers that they had."""
        taken = []
        for lost in self._trials(TrialState.RUNNING):
            if not self._is_lost(lost):
                continue
            try:
                self._study.tell(lost.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):
                continue  # it has ended after all, or another worker was first
            attributes = {_RETRIES: lost.number}
            self._study.enqueue_trial(lost.params, user_attrs=attributes)
            taken.append(lost.number)
        return taken

    def _is_lost(self, trial: FrozenTrial) -> bool:
        process = ProcessIdentity.from_tags(trial.user_attrs.get(_WORKER, {}))
        if process is not None and process.is_dead():
            return True
        beat, now = trial.user_attrs.get(_BEAT), self._clock()
        known, since = self._seen.get(trial.number, (None, now))
        if trial.number not in self._seen or beat != known:
            self._seen[trial.number] = beat, now
            return False
        return now - since > SILENCE

    def _counted(self) -> list[FrozenTrial]:
        """The trials that make up the total: not those that were lost, or asked for in excess."""
        return [t for t in self._trials() if t.state != TrialState.FAIL or _ERROR in t.user_attrs]

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


class Trial:
    """A running trial of this worker. Its calls raise LostTrialError once another has taken it."""

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        space: Space,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._trial, self._space, self._clock = study, trial, space, clock
        self.number, self.name = trial.number, f"{study.study_name}-{trial.number}"
        self.label = f"{study.study_name}/{trial.number}"
        self.values: dict[str, Any] = {}
        self._beats, self._next_beat = 0, 0.0
        trial.set_user_attr(_WORKER, ProcessIdentity.current().tags)
        self.beat()

    def draw(self) -> None:
        """Draw the values; those of a trial that was lost stay as they were."""
        for name, distribution in self._space.items():
            if isinstance(distribution, CategoricalDistribution):
                self._trial.suggest_categorical(name, distribution.choices)
            elif isinstance(distribution, IntDistribution):
                self._trial.suggest_int(
                    name, distribution.low, distribution.high,
                    step=distribution.step, log=distribution.log,
                )  # fmt: skip
            elif isinstance(distribution, FloatDistribution):
                self._trial.suggest_float(
                    name, distribution.low, distribution.high,
                    step=distribution.step, log=distribution.log,
                )  # fmt: skip
        self.values = used_values(self._space, self._trial.params)

    def beat(self) -> None:
        """Leave a sign of life, if it is time for one."""
        if self._clock() >= self._next_beat:
            self._next_beat = self._clock() + BEAT
            self._beats += 1
            self._unless_lost(lambda: self._trial.set_user_attr(_BEAT, self._beats))

    def is_hopeless(self, epoch: int, score: float) -> bool:
        """Record the score of an epoch; whether the trial should be pruned now."""
        self._unless_lost(lambda: self._trial.report(score, epoch))
        return self._unless_lost(self._trial.should_prune)

    def finish(self, score: float) -> None:
        """End with a score."""
        self._unless_lost(lambda: self._study.tell(self._trial, score))

    def prune(self) -> None:
        """End as hopeless."""
        self._unless_lost(lambda: self._study.tell(self._trial, state=TrialState.PRUNED))

    def fail(self, error: str) -> None:
        """End with the reason why there is no score."""

        def tell() -> None:
            self._trial.set_user_attr(_ERROR, error)
            self._study.tell(self._trial, state=TrialState.FAIL)

        self._unless_lost(tell)

    def hand_back(self) -> None:
        """Queue the values again, for another worker or another start."""
        self._unless_lost(lambda: self._study.tell(self._trial, state=TrialState.FAIL), ())
        attributes = {_RETRIES: self.number}
        self._study.enqueue_trial(self._trial.params, user_attrs=attributes)

    def _unless_lost(
        self, action: Callable[[], Answer], pauses: Sequence[float] = _PAUSES
    ) -> Answer:
        """Do something with the trial; training goes on while the server is away for a minute."""
        try:
            for pause in pauses:
                try:
                    return action()
                except StorageInternalError:
                    time.sleep(pause)
            return action()
        except (UpdateFinishedTrialError, ValueError):  # the latter is of Optuna's `tell`
            if not self._study.get_trials(deepcopy=False)[self.number].state.is_finished():
                raise
            raise LostTrialError(self.name) from None


def newest_study(storage: BaseStorage) -> Study | None:
    """The study whose last trial began last; None if there is none with a trial."""
    began = {
        each.study_name: each.datetime_start
        for each in optuna.get_all_study_summaries(storage)
        if each.datetime_start is not None and _DEFINITION in each.user_attrs
    }
    if not began:
        return None
    name = max(began, key=lambda each: began[each])
    study = optuna.load_study(study_name=name, storage=storage)
    written = study.user_attrs[_DEFINITION]
    space = {key: json_to_distribution(json.dumps(each)) for key, each in written["space"].items()}
    return Study(
        storage, name, space, written["settings"],
        score=written["score"], total=len(study.trials),
    )  # fmt: skip


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, constant_liar=True)


def _result(trial: FrozenTrial, space: Space) -> Result:
    best = max(trial.intermediate_values.values(), default=None)
    return Result(
        number=trial.number,
        values=used_values(space, trial.params),
        state=_STATES[trial.state],
        score=trial.value if trial.state == TrialState.COMPLETE else best,
        epochs=trial.last_step,
        error=trial.user_attrs.get(_ERROR),
        retries=trial.user_attrs.get(_RETRIES),
    )
