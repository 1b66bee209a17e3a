"""litepress from Python: what the commands do, by the same functions, with the same errors.

    import litepress

    results = litepress.run("recipes/vision/digits.yaml", train={"epochs": 3})
    print(results.table())                                  # in a notebook, `results` shows itself
    classes = litepress.predictor(results, "int8").predict(images)["logits"].argmax(axis=1)

A mistake that can be fixed raises `UserError`, a missed gate `GateError`, and a stage that ends unexpectedly
`StageError`, each with the line that the command prints. What is heavy is imported by what needs it: TensorFlow runs in
processes of its own, and only `predictor` and `serve` load it here, for what runs on it.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import GateError, StageError, UserError

if TYPE_CHECKING:
    from litepress.predictors import Predictor
    from litepress.server import Server
    from pipelines.reporting.results import Results
    from pipelines.tools.verify_bundle import Verification, Where

__all__ = ["GateError", "Predictor", "Results", "Server", "StageError", "UserError", "Verification", "predictor",
           "press", "results", "run", "serve", "verify"]

Location = str | os.PathLike[str]
Stage = Literal["ingest", "train", "evaluate", "compress", "export", "verify", "package"]
#: Classes that are imported where they are asked for.
LAZY = {"Predictor": "litepress.predictors", "Results": "pipelines.reporting.results", "Server": "litepress.server",
        "Verification": "pipelines.tools.verify_bundle"}


def run(recipe: Location | Mapping[str, Any], *, runs: Location = "runs", start: Stage | None = None,
        until: Stage | None = None, force: bool = False, track: bool = True, check: bool = True, quiet: bool = False,
        **overrides: Any) -> Results:
    """Run a recipe through all stages, as `litepress run` does, and return what it measured. Stages that have run
    before, here or by the command, are not run again.

    Args:
        recipe: a file, YAML text (of several lines), or a mapping of settings.
        runs: folder of runs and artifacts.
        start: run this stage and those after it again; `force` runs all again.
        until: stop after this stage.
        track: send the run to MLflow.
        check: raise where a gate is missed, or where a variant or target could not be made. Otherwise the results say
            so, in `failed_gates`, `failed` and `left_out`.
        quiet: show no progress.
        overrides: settings to change: `train={"epochs": 3}` changes one of a section and keeps the others,
            `**{"train.schedule.one_cycle.peak": 0.02}` is one by its whole name, as in `--set`.

    Raises:
        UserError: the recipe or its data are not as they must be; the message has a line for each mistake.
        GateError: a gate was missed; `results(FOLDER)` has what was measured.
        StageError: a stage ended unexpectedly.
    """
    from litepress import caller, recipes
    from pipelines.runner import Options
    from pipelines.tools import run as tool

    read, title = recipes.read(recipe, overrides)
    first = "ingest" if force else recipes.stage("start", start)
    options = Options(Path(runs), first, recipes.stage("until", until), track)
    with caller.kept():
        runner = tool.runner_of(read, title, options, caller.display(quiet), caller.command("run", title, overrides))
        return caller.finish(runner, check)


def press(model: Any, data: Any, *, variants: str | Sequence[Any] | None = None,
          targets: str | Sequence[Any] | None = None, gates: Mapping[str, str] | None = None, task: str | None = None,
          pixels: Literal["0..255", "0..1", "-1..1"] | None = None, layout: Literal["nhwc"] | None = None,
          target_column: str | None = None, name: str | None = None, out: Location | None = None,
          torch: str | None = None, jax: str | None = None, allow_code: bool = False, runs: Location = "runs",
          track: bool = True, check: bool = True, quiet: bool = False) -> Results:
    """Press a model that was made elsewhere, as `litepress press` does: variants, verification, report and bundle.

    Args:
        model: a Keras model, or the path of a file or folder that the command takes. A model with layers of its own is
            taken as a graph. None where `torch` or `jax` names the function that makes it.
        data: arrays, or what `--data` takes, such as a folder of images. Arrays are images alone, `(x, y)`,
            `((x_train, y_train), (x_test, y_test))`, or a mapping of the model's inputs; a table is a data frame.
        variants, targets: `["float32", "int8", {"qat": 5}]`, or as the command has them; the usual ones where not
            given.
        gates: thresholds, `{"int8.drop": "<= 0.005"}`.
        task: image_classification, semantic_segmentation, tabular, "tabular: regression" or equivalence.
        pixels: the range of pixels that the model was trained on.
        layout: of ONNX and PyTorch, "nhwc": images channels last, in and out.
        target_column: of a table, what the model answers.
        name: of the runs; the model's where not given.
        out: folder for the bundle and the report.
        torch, jax: in the model's place, "module:function", which gives one.
        allow_code: run the Python code that a model's file holds, in a process of its own.
        runs, track, check, quiet: see `run`.

    Raises:
        UserError, GateError, StageError: see `run`.
    """
    from litepress import caller, in_memory
    from pipelines.runner import Options
    from pipelines.tools import press as tool
    from pipelines.tools import run as run_tool
    from pipelines.tools.written_option import layout_of, pixels_of, text_of

    target_folder = Path(out) if out is not None else None
    if target_folder is not None:
        tool.check_out(target_folder)
    run_tool.check_one_model(model, torch, jax)
    options: dict[str, Any] = {
        "variants": text_of(variants), "targets": text_of(targets), "task": task,
        "pixels": None if pixels is None else pixels_of(pixels),
        "layout": None if layout is None else layout_of(layout), "torch": torch, "jax": jax}
    scratch = Path(runs) / ".given"
    with caller.kept():
        display = caller.display(quiet)
        given = in_memory.model_file(model, scratch)
        settings = tool.PressSettings(
            model=given.path, data=in_memory.data_file(data, scratch), scratch=scratch, name=name or given.name,
            allow_code=allow_code, target=target_column, **options)
        arguments = {"data": settings.data, "target_column": target_column, "name": name, "gates": gates,
                     "allow_code": allow_code or None, **options}
        call = caller.command("press", None if model is None else str(given.path), {
            argument: value for argument, value in arguments.items() if value is not None})
        runner = run_tool.pressing(settings, Options(Path(runs), track=track), display, call, gates)
        try:
            return caller.finish(runner, check)
        finally:
            if target_folder is not None and runner.results is not None:
                run_tool.deliver(target_folder, display, runner.results)


def results(run: Location) -> Results:
    """Return what an earlier run measured, of its folder, for instance runs/digits/latest. Raises UserError."""
    from pipelines.engine import runs
    from pipelines.recipe.recipe import Recipe  # makes the tasks known
    from pipelines.reporting import results as reporting

    record = runs.load(Path(run))
    Recipe.model_validate(record.record.recipe)
    return reporting.collect(record)


def predictor(model: Location | Results, name: str | None = None) -> Predictor:
    """Return what asks a model in this process: `predictor("model.tflite").predict(images)`.

    Args:
        model: a .tflite, .keras, .onnx or other file, a SavedModel's folder, a run or its folder, or a bundle's folder
            or zip file.
        name: which model of a run or bundle, for instance int8; the one that is recommended for CPUs where not given.

    Raises:
        UserError: there is no such model, or what runs it is not installed.
    """
    from litepress import caller
    from litepress.predictors import opened

    with caller.kept():
        return opened(_path(model), name)


def verify(bundle: Location | Results, where: Where = "here", *, check: bool = True,
           quiet: bool = False) -> Verification:
    """Run a bundle's models on its golden samples again, as `litepress verify` does.

    Args:
        bundle: a bundle's folder or zip file, or a run or its folder.
        where: here, on the GPU (`gpu`), or on an emulated processor (`arm64`).
        check: raise where a model does not answer as recorded.

    Raises:
        UserError: it is not a bundle, or a file of it was changed.
        GateError: a model does not answer as recorded.
    """
    from litepress import caller
    from pipelines.tools import verify_bundle

    with caller.kept():
        display = caller.display(quiet)
        verification = verify_bundle.verify(_path(bundle), where, lambda text: display.line(f"  {text} …"))
    if check:
        verification.require()
    return verification


def serve(run: Location | Results, *, name: str | None = None, **flags: Any) -> Server:
    """Serve a run's SavedModel as TF Serving does, in a thread of this process, until it is stopped.

        with litepress.serve("runs/digits/latest") as server:
            scores = server.predict(images)["scores"]

    Args:
        run: a run or its folder, or a folder of numbered versions.
        name: of the model; the recipe's where not given.
        flags: of tensorflow_model_server, for instance `rest_api_port=8501`; ports are free ones where not given.

    Raises:
        UserError: there is no SavedModel, or a flag is wrong.
    """
    from litepress import caller
    from litepress.server import Server

    with caller.kept():
        return Server(_path(run), name, flags)


def _path(model: Location | Results) -> Path:
    """Return the path of what is asked: of results the run's folder."""
    return Path(model) if isinstance(model, (str, os.PathLike)) else Path(model.folder)


def __getattr__(name: str) -> Any:
    if name in LAZY:
        import importlib

        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
