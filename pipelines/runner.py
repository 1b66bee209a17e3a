"""The stage runner: the stages in order, each only if its artifact is not there yet."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

import models
from export.tflite import explain
from pipelines.engine import runs, workers
from pipelines.engine.code_version import code_version
from pipelines.engine.display import Display
from pipelines.engine.journal import NAME as JOURNAL
from pipelines.engine.journal import Journal
from pipelines.engine.runs import Run, StageRecord
from pipelines.engine.store import Artifact, Store
from pipelines.entries import Entry
from pipelines.errors import GateError, StageError, UserError
from pipelines.pretrained import Trained, settled
from pipelines.recipe import file as recipe_file
from pipelines.recipe.gates import Gate
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results, tracking
from pipelines.stages import STAGES, Stage
from pipelines.stages.run_stage import run_stage
from pipelines.training.sharded import WORKER
from pipelines.variants.record import layers_file


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run.

    Args:
        runs: folder of all runs and artifacts.
        start: make the artifacts from this stage on again.
        until: stop after this stage.
        track: send the run to MLflow.
        watch: told the epoch, counted from 1, and its metrics while a model trains; may raise UserError to give it up.
    """

    runs: Path = Path("runs")
    start: str | None = None
    until: str | None = None
    track: bool = True
    watch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None


class Runner:
    """Runs one recipe.

    Args:
        recipe: what to make.
        recipe_path: its file, for the record.
        options: how to run.
        display: told what happens.
        command: the command line, for the record.
        above: the recipes that wait for this one.
    """

    def __init__(self, recipe: Recipe, recipe_path: str, options: Options, display: Display,
                 command: Sequence[str] = (), above: Sequence[Path] = ()):
        self.recipe = recipe
        self.recipe_path = recipe_path
        self.options = options
        self.display = display
        self.command = list(command)
        self._waiting = (*above, Path(recipe_path).resolve())
        self.written = recipe.written()
        self._choices = registered_modules()
        self.store = Store(options.runs / runs.STORE)
        self.artifacts: dict[str, Artifact] = {}
        self.stages: dict[str, StageRecord] = {}
        self.run: Run | None = None
        self._teacher_file: Path | None = None
        self.tracker: tracking.Tracker | None = None
        #: What was measured; there once the run has ended, also where a gate was missed.
        self.results: results.Results | None = None

    def __call__(self) -> results.Results:
        """Run the stages and return what they measured.

        Raises:
            UserError: a problem that the user can fix.
            StageError: a stage ended unexpectedly.
            GateError: a gate was missed. The run's record and report are there.
        """
        names = [stage.name for stage in STAGES]
        last = names.index(self.options.until) if self.options.until else len(names) - 1
        first_again = names.index(self.options.start) if self.options.start else len(names)
        try:
            self._settle()
            for number, stage in enumerate(STAGES[:last + 1]):
                self._run(stage, again=number >= first_again)
                if stage.name in ("evaluate", "verify"):
                    self._check_gates()
            self.results = self._finish("done")
            return self.results
        except GateError as error:
            self.results = self._finish("gate", str(error))
            raise
        except (UserError, StageError, KeyboardInterrupt) as error:
            if self.run is not None:
                self._close("failed", str(error) or "interrupted")
            raise
        finally:
            self.display.close()

    def key(self, stage: Stage) -> str:
        """Return what the stage's artifact is made from, as a digest."""
        made_from = {"stage": stage.name, "code": self.code_of(stage),
                     "recipe": stage.part_of(self.recipe, self.written),
                     "inputs": {name: self.artifacts[name].digest for name in stage.needs}, **stage.extra(self.recipe)}
        if stage.name == "train" and (teacher := self._teacher()) is not None:
            made_from["teacher"] = hashlib.sha256(teacher.read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def code_of(self, stage: Stage) -> dict[str, str]:
        """Return the version of the code behind a stage: its own, and that of everything that the recipe chose for
        it."""
        names = [f"pipelines.stages.{stage.name}", *chosen_modules(self.recipe, stage.sections)]
        if stage.name == "train" and self.recipe.train.strategy == "sharded":
            names.append(WORKER)  # run by its name, which no import shows
        return {name: code_version(name, self._choices) for name in names}

    def _teacher(self) -> Path | None:
        """Return the file of the model that teaches, if one does; a recipe is trained first. Raises UserError where it
        cannot be had."""
        distill = self.recipe.train.distill
        if distill is None or self._teacher_file is not None:
            return self._teacher_file
        path = Path(distill.teacher)
        if distill.is_recipe:
            self.display.line(f"  teacher   {path}")
            recipe = recipe_file.read(path)
            if recipe.train.distill is not None:
                raise UserError(f"train.distill.teacher: {path} has its own teacher; train that recipe first and "
                                "give its .keras file")
            path = self._trained_first(recipe, path).train / "model.keras"
            self.display.line(f"  student   {self.recipe_path}")
        if not path.is_file():
            raise UserError(f"train.distill.teacher: there is no file {path}; give a recipe or a .keras file")
        self._teacher_file = path
        return path

    def _trained_first(self, recipe: Recipe, path: Path) -> Trained:
        """Return the model of another recipe, trained where it has not been."""
        nested = Runner(recipe, str(path), dataclasses.replace(self.options, start=None, until="train"),
                        self.display, self.command, self._waiting)
        nested()
        return Trained(recipe, nested.artifacts["ingest"].path, nested.artifacts["train"].path)

    def _settle(self) -> None:
        """Find what the recipe takes over from a model that was trained before; a recipe of that is trained first.
        Raises UserError."""
        def train(path: Path) -> Trained:
            if path.resolve() in self._waiting:
                raise UserError(f"{path} takes over from itself; name the recipe that is trained first")
            recipe = recipe_file.read(path)
            if recipe.model.weights is not None and recipe.model.weights.entry_name == "pretrained":
                raise UserError(f"model.weights: {path} starts from another model itself; train that recipe first and "
                                "give its run")
            self.display.line(f"  first     {path}")
            first = self._trained_first(recipe, path)
            self.display.line(f"  then      {self.recipe_path}")
            return first

        self.recipe = settled(self.recipe, train)
        self.written = self.recipe.written()

    def _run(self, stage: Stage, again: bool) -> None:
        started, key = time.monotonic(), self.key(stage)
        artifact = None if again else self.store.find(stage.name, key)
        record = self.stages[stage.name] = StageRecord(
            key=key, artifact=self.store.folder(stage.name, key).name, cached=artifact is not None)
        if artifact is None:
            self._open_run()
            artifact = self._execute(stage, key, record, again)
        self.artifacts[stage.name] = artifact
        record.state, record.summary, record.seconds = "done", artifact.summary, round(time.monotonic() - started, 3)
        if self.run is not None:
            self._save_record(stage.name)
        self.display.end(stage.name, artifact.summary, record.seconds, record.cached)

    def _execute(self, stage: Stage, key: str, record: StageRecord, again: bool) -> Artifact:
        assert self.run is not None
        work = self.store.work(stage.name, key)
        self.run.record.stages[stage.name] = record
        self.run.save()
        self._emit("stage", stage=stage.name, state="running", folder=str(work.absolute()))
        self.display.begin(stage.name)
        first = all(record.cached for name, record in self.stages.items() if name != stage.name)
        self.display.progress(0, "starting TensorFlow" if first else "")
        inputs = {name: self.artifacts[name].path for name in stage.needs}
        if stage.name == "train" and self._teacher_file is not None:
            inputs["teacher"] = self._teacher_file
        try:
            return workers.call(run_stage, stage.name, key, self.written, self.store, inputs, again,
                                log=work / "log.txt",
                                listen=self._listen, what=stage.name)
        except (UserError, StageError):
            record.state = "failed"
            self._save_record(stage.name)
            raise

    def _listen(self, message: dict) -> None:
        if "metrics" in message:
            self.options.watch(message["epoch"], message["metrics"])
        if "done" in message:
            self.display.progress(message["done"], message["text"])

    def _save_record(self, stage: str) -> None:
        """Write a stage's state into the run's folder."""
        assert self.run is not None
        record = self.stages[stage]
        self.run.record.stages[stage] = record
        if record.state == "done":
            self.run.link(stage)
        self.run.save()
        self._emit("stage", stage=stage, state=record.state, cached=record.cached, seconds=record.seconds)

    def _open_run(self) -> None:
        """Make the run's folder, when it is known that there is something to do or to record."""
        if self.run is not None:
            return
        key = hashlib.sha256(json.dumps(self.written, sort_keys=True).encode()).hexdigest()
        self.run = runs.create(self.options.runs, self.recipe.name, key, self.recipe_path, self.written, self.command)
        self.journal = Journal(self.run.folder / JOURNAL)
        runs.make_latest(self.run)
        self._emit("begin")
        for stage, record in self.stages.items():
            if record.state == "done":
                self._save_record(stage)
        if self.options.track:
            self.tracker = tracking.start(self.run.folder)

    def _emit(self, event: str, **values: object) -> None:
        self.journal.write(event, **values)

    def _check_gates(self) -> None:
        run = self.run or self._earlier_run()
        if run is None:
            self._open_run()
            run = self.run
        assert run is not None
        failed = results.collect(self._as_of_now(run)).failed_gates
        if failed:
            raise GateError("\n".join(f"gate {gate.name}: {gate.shown} misses the limit "
                                      f"{gate.limit}{self._explain_drop(gate)}" for gate in failed))

    def _explain_drop(self, gate: Gate) -> str:
        """For a drop of an integer variant: the operators that add most noise, and what to do."""
        artifact, _, value = gate.name.partition(".")
        if value != "drop" or "compress" not in self.artifacts:
            return ""
        path = self.artifacts["compress"].path / layers_file(artifact)
        if not path.exists():
            return ""
        worst = explain.worst(explain.LayerErrors.model_validate_json(path.read_bytes()).errors)
        named = ", ".join(f"{one.number} {one.name} ({one.operator}, {one.sqnr:.0f} dB)" for one in worst)
        return f". The three worst operators: {named}. Try variants: [auto], and see the report"

    def _earlier_run(self) -> Run | None:
        """Return an earlier run with the very artifacts of this one, so that nothing needs to be recorded again."""
        for run in reversed(runs.all_runs(self.options.runs, self.recipe.name, skip_unreadable=True)):
            earlier = run.record
            same = all(name in earlier.stages and earlier.stages[name].key == record.key for name,
                       record in self.stages.items())
            if earlier.recipe == self.written and earlier.status in ("done", "gate") and same:
                return run
        return None

    def _as_of_now(self, run: Run) -> Run:
        """Return the run's folder with what this time has come to, for `results`."""
        return Run(run.folder, run.record.model_copy(update={"stages": dict(self.stages), "recipe": self.written}))

    def _finish(self, status: str, error: str = "") -> results.Results:
        earlier = None if self.run else self._earlier_run()
        if earlier is not None and earlier.record.status == status:
            runs.make_latest(earlier)
            return results.collect(self._as_of_now(earlier))
        self._open_run()
        assert self.run is not None
        self.run.record.status, self.run.record.error = status, error  # type: ignore[assignment]
        self.run.save()
        if any(name in self.artifacts for name in ("evaluate", "verify")):
            from pipelines.reporting import report

            self.display.begin("report")
            workers.call(report.write, self.run.folder, log=self.run.folder / "report.log", what="report")
            self.display.close()
        collected = results.collect(self.run)
        runs.write_whole(self.run.folder / "results.json", collected.model_dump_json(indent=1))
        self._close(status, error)
        return collected

    def _close(self, status: str, error: str) -> None:
        """Close the record, and give the tracker time to send what is left."""
        assert self.run is not None
        self.run.record.status, self.run.record.error = status, error  # type: ignore[assignment]
        self.run.save()
        self._emit("end", status=status, error=error)
        if self.tracker is not None:
            self.display.begin("track")
            note = self.tracker.finish()
            self.display.close()
            if note:
                self.display.line(f"  {note}")


def registered_modules() -> frozenset[str]:
    """Return the modules that define what recipes choose among: entries of every kind, and builders."""
    kinds = list(Entry.__subclasses__())
    entries = {choice.__module__ for kind in kinds for choice in kind.choices.values()}
    return frozenset(entries | {builder.function.__module__ for builder in models.builders()})


def chosen_modules(recipe: Recipe, sections: Sequence[str]) -> list[str]:
    """Return the modules of the entries, features and builder that some sections of a recipe chose."""
    names: set[str] = set()
    for section in sections:
        names |= {type(entry).__module__ for entry in _entries(getattr(recipe, section))}
    if "task" in sections:
        names |= {feature.__module__ for feature in recipe.task.features.values()}
    if "model" in sections and recipe.model.imported is None:
        names.add(models.builder(recipe.model.builder).function.__module__)
    return sorted(names)


def _entries(value: object) -> Iterator[Entry]:
    """Yield every entry in a section, those inside entries too."""
    if isinstance(value, Entry):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _entries(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _entries(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _entries(inner)
