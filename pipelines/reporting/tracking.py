"""Tracking in MLflow, and the only place that knows MLflow.

A process of its own reads the journals of a run while they grow and sends them on. It can be late, slow or fail without
costing the run anything: what it has sent is written down, and `litepress track` sends the rest.
"""
from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.engine import runs
from pipelines.engine.journal import NAME as JOURNAL
from pipelines.engine.journal import flat, read
from pipelines.engine.locks import alone
from pipelines.engine.runs import Run
from pipelines.engine.store import MANIFEST
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results

with epy.lazy_imports():
    import mlflow
    from mlflow import entities

STATE, LOG = "tracking.json", "tracking.log"
#: Seconds that a run waits at its end for the tracking to catch up.
PATIENCE = 30
ALIAS = "champion"
ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
               "MLFLOW_DISABLE_TELEMETRY": "true",
               "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
#: What a stage's child run gets as artifacts, as globs.
UPLOADED = {"ingest": ("*.png", "index.json", "unreadable.txt"), "train": ("*.keras", "*.png", "samples/*.png"),
            "evaluate": ("**/*.png", "*.json"),
            "compress": ("compress.json", "latency.json", "*.layers.json", "*.png"), "export": ("**/*",),
            "verify": ("*.png", "*.json"),
            "package": ("*.zip", "bundle/MODEL_CARD.md")}


class Tracker:
    """The tracking process of a run."""

    def __init__(self, process: subprocess.Popen, folder: Path):
        self.process, self.folder = process, folder

    def finish(self) -> str:
        """Give the process time to send what is left; a line for the user where it did not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process.wait(PATIENCE) == 0:
                return ""
        late = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        what = f"the server was not done after {PATIENCE} s" if late else _reason(self.folder)
        folder = os.path.relpath(self.folder)
        return f"tracking: {what}. The run is not lost: send it later with litepress track {folder}"


def start(folder: Path) -> Tracker:
    """Start the tracking process for a run that has begun. It ends with the run, or with the process that called
    this."""
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "pipelines.reporting.tracking", str(folder.absolute())],
                                   stdin=subprocess.PIPE,
                                   stdout=log, stderr=log, start_new_session=True)
    return Tracker(process, folder)


def uri(root: Path) -> str:
    """Return where runs below `root` are tracked: MLFLOW_TRACKING_URI, or an SQLite file beside them."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.absolute() / 'mlflow.db'}"


def upload(folder: Path, follow: bool = False) -> str:
    """Send a run to MLflow: all of it that was not sent before.

    Args:
        folder: the run's.
        follow: go on while the run goes on.

    Returns:
        The identifier of the parent run.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return Upload(runs.load(folder)).send(follow)


class Upload:
    """Sends one run. What was sent is in the run's folder, so that nothing is sent twice."""

    def __init__(self, run: Run):
        self.run = run
        root = run.folder.parent.parent
        server, path = uri(root), run.folder / STATE
        with alone(root / ".mlflow.lock"):
            self.client = mlflow.MlflowClient(server, server)
            self.experiment = self._experiment(root)
        self.state: dict[str, Any] = runs.read_json(path) if path.exists() else {}
        if self.state.get("uri") != server:
            self.state = {"uri": server, "parent": None, "read": 0, "stages": {}, "done": False}

    def send(self, follow: bool) -> str:
        running: tuple[str, Path] | None = None
        while True:
            for event in list(read(self.run.folder / JOURNAL))[self.state["read"]:]:
                if event["event"] == "begin":
                    self._begin(event["time"])
                elif event["event"] == "stage":
                    running = self._stage(event)
                elif event["event"] == "end":
                    self._end(event)
                self.state["read"] += 1
                self._save()
            if running:
                self._send_journal(*running)
                self._save()
            if self.state["done"] or not follow:
                return self.state["parent"]
            time.sleep(0.5)

    def _experiment(self, root: Path) -> str:
        name = self.run.record.recipe["name"]
        result = self.client.get_experiment_by_name(name)
        if result is not None:
            return result.experiment_id
        local = None if os.environ.get("MLFLOW_TRACKING_URI") else (root.absolute() / "mlartifacts" / name).as_uri()
        return self.client.create_experiment(name, artifact_location=local)

    def _begin(self, moment: float) -> None:
        if self.state["parent"]:
            return
        record = self.run.record
        tags = {"mlflow.runName": record.id, "mlflow.source.name": record.recipe_path, "mlflow.source.type": "LOCAL",
                "python": platform.python_version(), "platform": platform.platform(),
                "command": " ".join(record.command)}
        if record.git_commit:
            tags["mlflow.source.git.commit"] = record.git_commit
        created = self.client.create_run(self.experiment, start_time=int(moment * 1000), tags=tags)
        self.state["parent"] = created.info.run_id
        self._save()
        self._parameters(created.info.run_id, flat(record.recipe))
        self.client.log_text(created.info.run_id, recipe_file.write(Recipe.model_validate(record.recipe)),
                             "recipe.yaml")
        self.client.log_text(created.info.run_id, environment(), "environment.txt")

    def _stage(self, event: dict[str, Any]) -> tuple[str, Path] | None:
        """Say that a stage began, or ended, and what is running now."""
        name = event["stage"]
        if name not in self.state["stages"]:
            tags = {"mlflow.parentRunId": self.state["parent"], "mlflow.runName": name,
                    "cached": str(event.get("cached", False)).lower()}
            created = self.client.create_run(self.experiment, start_time=int(event["time"] * 1000), tags=tags)
            self.state["stages"][name] = {"run": created.info.run_id, "read": 0}
            self._save()
        if event["state"] == "running":
            self.state["stages"][name]["work"] = event["folder"]
            return name, Path(event["folder"])
        folder = self.run.folder / name if event["state"] == "done" else Path(self.state["stages"][name]["work"])
        self._send_journal(name, folder)
        run = self.state["stages"][name]["run"]
        if event["state"] == "done":
            self._send_files(name, run, folder)
        status = "FINISHED" if event["state"] == "done" else "FAILED"
        self.client.set_terminated(run, status, end_time=int(event["time"] * 1000))
        return None

    def _send_journal(self, stage: str, folder: Path) -> None:
        sent = self.state["stages"][stage]
        events = list(read(folder / JOURNAL))[sent["read"]:]
        if not events:
            return
        metrics, datasets = [], []
        for event in events:
            moment = int(event["time"] * 1000)
            if event["event"] == "metrics":
                metrics += [entities.Metric(named(name), value, moment, event["step"])
                            for name, value in event["values"].items()]
            elif event["event"] == "parameters":
                self._parameters(sent["run"], event["values"])
            elif event["event"] == "dataset":
                datasets.append(_dataset(event))
            elif event["event"] == "class_counts":
                self.client.log_dict(sent["run"], event, f"class_counts.{event['target']}.json")
        for first in range(0, len(metrics), 1000):
            self.client.log_batch(sent["run"], metrics=metrics[first:first + 1000])
        if datasets:
            self.client.log_inputs(sent["run"], datasets)
        sent["read"] += len(events)

    def _send_files(self, stage: str, run: str, folder: Path) -> None:
        for pattern in UPLOADED[stage]:
            for path in sorted(folder.glob(pattern)):
                if path.is_file() and path.name not in (MANIFEST, JOURNAL, "log.txt"):
                    place = path.relative_to(folder).parent.as_posix()
                    self.client.log_artifact(run, str(path), None if place == "." else place)

    def _end(self, event: dict[str, Any]) -> None:
        parent, run = self.state["parent"], runs.load(self.run.folder)
        if (run.folder / "results.json").exists():
            result = results.Results.model_validate(runs.read_json(run.folder / "results.json"))
            self._send_results(parent, result)
            for name in ("results.json", "report.html"):
                if (run.folder / name).exists():
                    self.client.log_artifact(parent, str(run.folder / name))
            if event["status"] == "done" and result.bundle and not result.failed_gates:
                self._register()
        if event["error"]:
            self.client.set_tag(parent, "error", event["error"][:5000])
        status = {"done": "FINISHED", "gate": "FAILED"}.get(event["status"], "FAILED")
        self.client.set_terminated(parent, status, end_time=int(event["time"] * 1000))
        self.state["done"] = True

    def _send_results(self, parent: str, result: results.Results) -> None:
        now = int(time.time() * 1000)
        main = result.asked.main.name
        metrics = dict(result.reference.metrics) if result.reference else {}
        for one in result.artifacts:
            metrics |= {f"{one.name}.{main}": one.metrics[main], f"{one.name}.drop": one.drop[main],
                        f"{one.name}.bytes": one.bytes, f"{one.name}.latency_ms_p50": one.latency_ms.p50}
        for gate in result.gates:
            metrics[f"gate.{gate.name}"] = float(gate.passed)
            self.client.set_tag(parent, f"gate.{gate.name}", str(gate))
        self.client.log_batch(parent,
                              metrics=[entities.Metric(named(name), float(value), now, 0)
                                       for name, value in metrics.items()])

    def _register(self) -> None:
        """Register the model that passed its gates, with its bundle as the source, as the champion."""
        name, run = self.run.record.recipe["name"], self.state["stages"]["package"]["run"]
        with contextlib.suppress(mlflow.exceptions.MlflowException):
            self.client.create_registered_model(name)
        if self.client.search_model_versions(f"name='{name}' and run_id='{run}'"):
            return
        version = self.client.create_model_version(name, source=self.client.get_run(run).info.artifact_uri, run_id=run,
                                                   tags={"litepress.run": self.run.record.id})
        self.client.set_registered_model_alias(name, ALIAS, version.version)

    def _parameters(self, run: str, values: dict[str, Any]) -> None:
        known = self.client.get_run(run).data.params
        fresh = [entities.Param(name, str(value)[:5000]) for name, value in values.items() if name not in known]
        if fresh:
            self.client.log_batch(run, params=fresh)

    def _save(self) -> None:
        runs.write_whole(self.run.folder / STATE, json.dumps(self.state, indent=1))


def named(metric: str) -> str:
    """Return a metric's name as MLflow takes it: one of a text's parts, for instance, may hold any character."""
    return re.sub(r"[^\w.\- :/]", "_", metric)


def environment() -> str:
    """Return every installed package with its version, a line each."""
    import importlib.metadata

    result = {f"{package.metadata['Name']}=={package.version}" for package in importlib.metadata.distributions()}
    return "\n".join(sorted(result, key=str.lower)) + "\n"


def _dataset(event: dict[str, Any]) -> Any:
    source = json.dumps({"name": event["name"]})
    dataset = entities.Dataset(name=event["name"], digest=event["digest"][:36], source_type="litepress", source=source,
                               profile=json.dumps({"examples": event["examples"]}))
    return entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", event["context"])])


def _reason(folder: Path) -> str:
    lines = [line for line in (folder / LOG).read_text(errors="replace").splitlines()
             if line.startswith("tracking failed: ")]
    if not lines:
        return f"it ended early, see {os.path.relpath(folder / LOG)}"
    return lines[-1].removeprefix("tracking failed: ")


def _end_with_run() -> None:
    """The process that started the tracking is at the other end of standard input. When it is gone, the run is over."""
    sys.stdin.buffer.read()
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=_end_with_run, daemon=True).start()
    try:
        upload(Path(sys.argv[1]), follow=True)
    except Exception as error:
        import traceback

        traceback.print_exc()
        print(f"tracking failed: {' '.join(str(error).split())[:300]}", flush=True)
        os._exit(1)
    os._exit(0)
