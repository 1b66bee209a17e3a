"""`litepress tune`: many short trainings of a recipe, in search of the settings that train best."""
from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from pipelines.engine import runs
from pipelines.engine.display import Display
from pipelines.engine.journal import NAME as JOURNAL
from pipelines.engine.journal import series
from pipelines.errors import StageError, UserError
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.tune import TuneSection
from pipelines.runner import Options, Runner

with epy.lazy_imports():
    import optuna

STUDY, BEST, FIGURE = "study.db", "tuned.yaml", "study.png"


class GivenUp(UserError):
    """A trial that is not worth its remaining epochs."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search has come to.

    Args:
        metric: what was searched for.
        value: the metric of the best trial.
        settings: its settings, as --set takes them.
        folder: where the study, its figure and the best recipe are.
        failed: trials that ended with an error.
    """

    metric: str
    value: float
    settings: list[str]
    folder: Path
    failed: int


class Search:
    """A search over the ranges of a recipe. It is kept in SQLite, trial by trial, and goes on where it was.

    Args:
        path: the recipe's file.
        overrides: as --set gives them.
        options: how to run the trials.
        command: the command line, for the record.
        display: shows the progress of a trial.

    Raises:
        UserError: the recipe names no ranges, or one that it cannot take.
    """

    def __init__(self, path: Path, overrides: list[str], options: Options, command: list[str], display: Display):
        self.path = path
        self.overrides = overrides
        self.options = options
        self.command = command
        self.display = display
        self.recipe = recipe_file.read(path, overrides)
        if self.recipe.tune is None:
            raise UserError(f"{path}: tune is missing: give tune.ranges, for instance tune: {{ranges: "
                            "{train.schedule.one_cycle.peak: {log: [0.001, 0.1]}}}")
        self.section: TuneSection = self.recipe.tune
        self.metric = self.recipe.monitored(self.section.metric)
        for name, values in self.section.ranges.items():
            for value in values.examples():
                self.with_settings({name: value})
        self.folder = options.runs / f"{self.recipe.name}-tune"
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.study = self._study()

    def with_settings(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a trial, under a name that keeps trials apart from runs.

        Raises:
            UserError: it cannot take a setting.
        """
        own = [f"name={self.recipe.name}-tune", "tune=null"]
        return recipe_file.read(self.path, [*self.overrides, *_written(settings), *own])

    def __call__(self, report: Callable[[str], None]) -> Outcome:
        """Run the trials that are missing.

        Args:
            report: receives a line for each trial.

        Raises:
            UserError: no trial came to its end.
        """
        for trial in self._interrupted():
            report(f"trial {trial.number + 1} was interrupted and is run again")
        while len(self._done()) < self.section.trials:
            trial = self.study.ask()
            settings = {name: values.suggest(trial, name) for name, values in self.section.ranges.items()}
            started = time.monotonic()
            result = self._run(trial, settings)
            seconds = time.monotonic() - started
            shown = "  ".join(_written(settings))
            report(f"trial {len(self._done())}/{self.section.trials}  {result}  {shown}  {seconds:.0f} s")
        completed = self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        if not completed:
            raise UserError(f"tune: none of the {self.section.trials} trials finished. See runs in {self.folder}")
        return self._outcome()

    @property
    def _lower_is_better(self) -> bool:
        return self.metric.better == "lower"

    def _run(self, trial: optuna.Trial, settings: dict[str, Any]) -> str:
        """Train with some settings, and tell the study; return how it went, in a few words."""
        name = self.metric.name

        def watch(epoch: int, metrics: dict[str, float]) -> None:
            trial.report(metrics[name], epoch)
            if trial.should_prune():
                raise GivenUp(f"given up after epoch {epoch}: {name} {metrics[name]:.4f}")

        options = dataclasses.replace(self.options, until="train", watch=watch)
        try:
            runner = Runner(self.with_settings(settings), str(self.path), options, self.display, self.command)
            runner()
        except GivenUp as error:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return str(error)
        except (UserError, StageError) as error:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return f"failed: {first_line(error)}"
        curve = series(runner.artifacts["train"].path / JOURNAL)[name].values()
        value = min(curve) if self._lower_is_better else max(curve)
        self.study.tell(trial, value)
        return f"{name} {value:.4f}"

    def _study(self) -> optuna.Study:
        """Return the study in the folder; a new one where the metric or the ranges are others than before."""
        directions = optuna.study.StudyDirection
        direction = directions.MINIMIZE if self._lower_is_better else directions.MAXIMIZE
        name = f"{self.metric.name} over {', '.join(sorted(self.section.ranges))}"
        storage = f"sqlite:///{(self.folder / STUDY).absolute()}"
        earlier = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)}.get(name, 0)
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        seed = self.recipe.seed + earlier  # a search that goes on must not draw the same values again
        return optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction=direction,
                                   sampler=samplers[self.section.sampler](seed=seed), pruner=self._pruner())

    def _pruner(self) -> optuna.pruners.BasePruner:
        warmup = self.section.warmup
        if self.section.pruner == "median":
            return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=warmup)
        if self.section.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=max(1, warmup), max_resource=self.recipe.train.epochs)
        return optuna.pruners.NopPruner()

    def _interrupted(self) -> list[Any]:
        """Put trials that a dead process left running first in the queue; return them."""
        running = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        for trial in running:
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self.study.set_user_attr(f"interrupted.{trial.number}", True)
            if set(trial.params) == set(self.section.ranges):
                self.study.enqueue_trial(trial.params)
        return running

    def _done(self) -> list[Any]:
        """Return the trials that count: those whose result the study has, without the interrupted ones."""
        states = optuna.trial.TrialState
        trials = self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.FAIL))
        attributes = self.study.user_attrs
        return [trial for trial in trials if f"interrupted.{trial.number}" not in attributes]

    def _outcome(self) -> Outcome:
        best = self.study.best_trial
        tuned = recipe_file.read(self.path, [*self.overrides, *_written(best.params), "tune=null"])
        runs.write_whole(self.folder / BEST, recipe_file.write(tuned))
        self._draw()
        failed = [trial for trial in self._done() if trial.state == optuna.trial.TrialState.FAIL]
        return Outcome(self.metric.name, float(self.study.best_value), _written(best.params), self.folder, len(failed))

    def _draw(self) -> None:
        """Draw the metric of each trial, the best so far, and each setting against the metric."""
        from pipelines.figures import figures

        completed = self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        trials = [(trial.number + 1, float(trial.value or 0), trial.params) for trial in completed]
        logarithmic = [name for name, values in self.section.ranges.items() if values.entry_name == "log"]
        figures.study(trials, self.metric.name, logarithmic, self.folder / FIGURE,
                      lower_is_better=self._lower_is_better)


def _written(settings: dict[str, Any]) -> list[str]:
    """Return settings as --set takes them."""
    values = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in settings.items()}
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]
