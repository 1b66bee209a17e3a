"""The stage runner: the stages in order, each only if its artifact is not there yet."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from export.tflite import explain
from pipelines.engine import runs, workers
from pipelines.engine.code_version import code_version
from pipelines.engine.display import Display
from pipelines.engine.journal import NAME as JOURNAL
from pipelines.engine.journal import Journal
from pipelines.engine.runs import Run, StageRecord
from pipelines.engine.store import Artifact, Store
from pipelines.errors import GateError, StageError, UserError
from pipelines.recipe import file as recipe_file
from pipelines.recipe.gates import Gate
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results, tracking
from pipelines.stages import STAGES, Stage
from pipelines.stages.perform import perform
from pipelines.variants.record import layers_file


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run.

    Args:
        runs: folder of all runs and artifacts.
        start: make the artifacts from this stage on anew.
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
    """

    def __init__(self, recipe: Recipe, recipe_path: str, options: Options, display: Display, command: Sequence[str] = ()):
        self.recipe, self.recipe_path, self.options, self.display, self.command = recipe, recipe_path, options, display, list(command)
        self.written = recipe.written()
        self.store = Store(options.runs / runs.STORE)
        self.artifacts: dict[str, Artifact] = {}
        self.stages: dict[str, StageRecord] = {}
        self.run: Run | None = None
        self._taught_by: Path | None = None
        self.tracker: tracking.Tracker | None = None
        #: What was found; there once the run has ended, also where a gate was missed.
        self.found: results.Results | None = None

    def __call__(self) -> results.Results:
        """Runs the stages; what they found.

        Raises:
            UserError: something that the user can mend.
            StageError: a stage ended in a way nobody foresaw.
            GateError: a gate was missed. The run's record and report are there.
        """
        names = [stage.name for stage in STAGES]
        last = names.index(self.options.until) if self.options.until else len(names) - 1
        first_anew = names.index(self.options.start) if self.options.start else len(names)
        try:
            for number, stage in enumerate(STAGES[:last + 1]):
                self._do(stage, anew=number >= first_anew)
                if stage.name in ("evaluate", "verify"):
                    self._check_gates()
            self.found = self._finish("done")
            return self.found
        except GateError as error:
            self.found = self._finish("gate", str(error))
            raise
        except (UserError, StageError, KeyboardInterrupt) as error:
            if self.run is not None:
                self._end("failed", str(error) or "interrupted")
            raise
        finally:
            self.display.close()

    def key(self, stage: Stage) -> str:
        """What the stage's artifact is made from, as a digest."""
        made_from = {"stage": stage.name, "code": code_version(f"pipelines.stages.{stage.name}"),
                     "recipe": {section: self.written[section] for section in stage.sections},
                     "inputs": {name: self.artifacts[name].digest for name in stage.needs}}
        if not stage.needs:
            made_from["data"] = self.recipe.data.source.fingerprint()
        if stage.name == "train" and (weights := self.recipe.model.fingerprint()):
            made_from["weights"] = weights
        if stage.name == "train" and (teacher := self._teacher()) is not None:
            made_from["teacher"] = hashlib.sha256(teacher.read_bytes()).hexdigest()
        if stage.name == "export":
            made_from["tools"] = {target.title: [target.versions(), target.missing()] for target in self.recipe.export.targets}
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def _teacher(self) -> Path | None:
        """The file of the model that teaches, if one does; a recipe is trained first. Raises UserError where it cannot be had."""
        distill = self.recipe.train.distill
        if distill is None or self._taught_by is not None:
            return self._taught_by
        path = Path(distill.teacher)
        if distill.is_recipe:
            self.display.line(f"  teacher   {path}")
            recipe = recipe_file.read(path)
            if recipe.train.distill is not None:
                raise UserError(f"train.distill.teacher: {path} has a teacher of its own; train that one first and give its .keras file")
            nested = Runner(recipe, str(path), dataclasses.replace(self.options, start=None, until="train"), self.display, self.command)
            nested()
            path = nested.artifacts["train"].path / "model.keras"
            self.display.line(f"  student   {self.recipe_path}")
        if not path.is_file():
            raise UserError(f"train.distill.teacher: there is no file {path}; give a recipe or a .keras file")
        self._taught_by = path
        return path

    def _do(self, stage: Stage, anew: bool) -> None:
        started, key = time.monotonic(), self.key(stage)
        artifact = None if anew else self.store.find(stage.name, key)
        record = self.stages[stage.name] = StageRecord(
            key=key, artifact=self.store.folder(stage.name, key).name, cached=artifact is not None)
        if artifact is None:
            self._open_run()
            artifact = self._make(stage, key, record, anew)
        self.artifacts[stage.name] = artifact
        record.state, record.summary, record.seconds = "done", artifact.summary, round(time.monotonic() - started, 3)
        if self.run is not None:
            self._keep(stage.name)
        self.display.end(stage.name, artifact.summary, record.seconds, record.cached)

    def _make(self, stage: Stage, key: str, record: StageRecord, anew: bool) -> Artifact:
        assert self.run is not None
        work = self.store.work(stage.name, key)
        self.run.record.stages[stage.name] = record
        self.run.save()
        self._say("stage", stage=stage.name, state="running", folder=str(work.absolute()))
        self.display.begin(stage.name)
        first = all(record.cached for name, record in self.stages.items() if name != stage.name)
        self.display.progress(0, "starting TensorFlow" if first else "")
        inputs = {name: self.artifacts[name].path for name in stage.needs}
        if stage.name == "train" and self._taught_by is not None:
            inputs["teacher"] = self._taught_by
        try:
            return workers.call(perform, stage.name, key, self.written, self.store, inputs, anew, log=work / "log.txt",
                                listen=self._listen, what=stage.name)
        except (UserError, StageError):
            record.state = "failed"
            self._keep(stage.name)
            raise

    def _listen(self, said: dict) -> None:
        if "metrics" in said:
            self.options.watch(said["epoch"], said["metrics"])
        if "done" in said:
            self.display.progress(said["done"], said["text"])

    def _keep(self, stage: str) -> None:
        """Writes a stage's state into the run's folder."""
        assert self.run is not None
        record = self.stages[stage]
        self.run.record.stages[stage] = record
        if record.state == "done":
            self.run.link(stage)
        self.run.save()
        self._say("stage", stage=stage, state=record.state, cached=record.cached, seconds=record.seconds)

    def _open_run(self) -> None:
        """Makes the run's folder, when it is known that there is something to do or to record."""
        if self.run is not None:
            return
        key = hashlib.sha256(json.dumps(self.written, sort_keys=True).encode()).hexdigest()
        self.run = runs.create(self.options.runs, self.recipe.name, key, self.recipe_path, self.written, self.command)
        self.journal = Journal(self.run.folder / JOURNAL)
        runs.make_latest(self.run)
        self._say("begin")
        for stage, record in self.stages.items():
            if record.state == "done":
                self._keep(stage)
        if self.options.track:
            self.tracker = tracking.start(self.run.folder)

    def _say(self, event: str, **values: object) -> None:
        self.journal.write(event, **values)

    def _check_gates(self) -> None:
        run = self.run or self._same_run()
        if run is None:
            self._open_run()
            run = self.run
        assert run is not None
        failed = results.collect(self._as_now(run)).failed_gates
        if failed:
            raise GateError("\n".join(f"gate {gate.name}: {gate.shown} misses the limit {gate.limit}{self._why(gate)}" for gate in failed))

    def _why(self, gate: Gate) -> str:
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

    def _same_run(self) -> Run | None:
        """An earlier run with the very artifacts of this one, so that nothing needs to be recorded again."""
        for run in reversed(runs.all_runs(self.options.runs, self.recipe.name, skip_unreadable=True)):
            known = run.record
            if known.recipe == self.written and known.status in ("done", "gate") and all(
                    name in known.stages and known.stages[name].key == record.key for name, record in self.stages.items()):
                return run
        return None

    def _as_now(self, run: Run) -> Run:
        """The run's folder with what this time has come to, for `results`."""
        return Run(run.folder, run.record.model_copy(update={"stages": dict(self.stages), "recipe": self.written}))

    def _finish(self, status: str, error: str = "") -> results.Results:
        earlier = None if self.run else self._same_run()
        if earlier is not None and earlier.record.status == status:
            runs.make_latest(earlier)
            return results.collect(self._as_now(earlier))
        self._open_run()
        assert self.run is not None
        self.run.record.status, self.run.record.error = status, error  # type: ignore[assignment]
        self.run.save()
        if any(name in self.artifacts for name in ("evaluate", "verify")):
            from pipelines.reporting import report

            self.display.begin("report")
            workers.call(report.write, self.run.folder, log=self.run.folder / "report.log", what="report")
            self.display.close()
        found = results.collect(self.run)
        runs.write_whole(self.run.folder / "results.json", found.model_dump_json(indent=1))
        self._end(status, error)
        return found

    def _end(self, status: str, error: str) -> None:
        """Closes the record, and gives the tracker time to send what is left."""
        assert self.run is not None
        self.run.record.status, self.run.record.error = status, error  # type: ignore[assignment]
        self.run.save()
        self._say("end", status=status, error=error)
        if self.tracker is not None:
            self.display.begin("track")
            note = self.tracker.finish()
            self.display.close()
            if note:
                self.display.line(f"  {note}")
