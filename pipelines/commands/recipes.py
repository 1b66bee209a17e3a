"""Commands that take a recipe, or a model in its place."""
from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from pipelines.commands.options import (
    LOOK,
    PRESS,
    TRAIN,
    Json,
    Overrides,
    RecipePath,
    RunsFolder,
    app,
    check_json,
    read_layout,
    read_pixels,
)
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.engine.display import Display
    from pipelines.reporting.results import Results
    from pipelines.runner import Runner


class StageName(str, enum.Enum):
    """The stages of a run."""

    ingest = "ingest"
    train = "train"
    evaluate = "evaluate"
    compress = "compress"
    export = "export"
    verify = "verify"
    package = "package"


@app.command(rich_help_panel=TRAIN)
def run(
        recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
        start: Annotated[Optional[StageName], typer.Option(
            "--from", help="run this stage and those after it again")] = None,
        until: Annotated[Optional[StageName], typer.Option("--until", help="stop after this stage")] = None,
        force: Annotated[bool, typer.Option("--force", help="run every stage again")] = False,
        track: Annotated[bool, typer.Option(help="send the run to MLflow")] = True,
        json_: Json = None) -> None:
    """Run a recipe through all stages: from data to verified models. Stages that have run before are not run again."""
    from rich.console import Console

    from pipelines.engine.display import Display
    from pipelines.recipe import file as recipe_file
    from pipelines.runner import Options
    from pipelines.tools import run

    display = Display(Console())
    read = recipe_file.read(recipe, set_ or [])
    check_json(json_)
    first = "ingest" if force else start.value if start else None
    options = Options(runs, first, until.value if until else None, track)
    runner = run.runner_of(read, str(recipe), options, display, sys.argv)
    _run(runner, display, json_, "; --from compress tries again")


@app.command(rich_help_panel=PRESS)
def press(
        model: Annotated[Optional[Path], typer.Argument(
            metavar="MODEL", help="a trained model: .keras, .h5, .tflite, .onnx, .pt2 of PyTorch, a frozen .pb, or a "
                                  "SavedModel folder; or a KerasHub preset of Stable Diffusion 3, by name or a folder, "
                                  "without --data")] = None,
        data: Annotated[Optional[str], typer.Option(
            "--data", metavar="DATA",
            help="a folder of images, a .csv of images and labels, a .npz or .npy file, tfds:NAME, a table, or "
                 "an .npz with the model's inputs")] = None,
        variants: Annotated[Optional[str], typer.Option(
            metavar="LIST", help='for instance float16,int8 or "int8,{qat: 5}"')] = None,
        targets: Annotated[Optional[str], typer.Option(
            metavar="LIST", help='for instance litert,onnx or "litert,{ethos-u: ethos-u65-256}"')] = None,
        pixels: Annotated[Optional[str], typer.Option(
            parser=read_pixels, metavar="RANGE",
            help="the range of pixels that the model was trained on: 0..255, 0..1 or -1..1")] = None,
        layout: Annotated[Optional[str], typer.Option(
            parser=read_layout, metavar="nhwc", help="of ONNX and PyTorch: images channels last, in and out")] = None,
        name: Annotated[Optional[str], typer.Option(help="what the runs are called")] = None,
        out: Annotated[Optional[Path], typer.Option(
            "--out", metavar="FOLDER", help="put the bundle and the report here")] = None,
        task: Annotated[Optional[str], typer.Option(
            help="image_classification, semantic_segmentation, tabular, \"tabular: regression\", or equivalence: the "
                 "original's answers are what counts")] = None,
        target: Annotated[Optional[str], typer.Option(
            "--target-column", metavar="NAME",
            help="of a table, what the model answers; target where not given")] = None,
        size: Annotated[Optional[int], typer.Option(
            metavar="PIXELS", help="a side of the pictures that a text-to-image preset makes")] = None,
        torch: Annotated[Optional[str], typer.Option(
            metavar="MODULE:FUNCTION", help="in MODEL's place: a function that gives a module of PyTorch")] = None,
        jax: Annotated[Optional[str], typer.Option(
            metavar="MODULE:FUNCTION", help="in MODEL's place: one that gives a function of JAX, or a Flax module")
        ] = None,
        allow_code: Annotated[bool, typer.Option(
            "--allow-code", help="run the Python code that the model's file holds, in a process of its own")] = False,
        runs: RunsFolder = Path("runs"), track: Annotated[bool, typer.Option(help="send the run to MLflow")] = True,
        gate: Annotated[Optional[list[str]], typer.Option(
            metavar="GATE", help='a threshold, for instance "int8.drop <= 0.005"; may be repeated')] = None,
        json_: Json = None) -> None:
    """Press a model that was made elsewhere: variants, verification, report and bundle, as in a run."""
    from rich.console import Console

    from models import stable_diffusion
    from pipelines.engine.display import Display
    from pipelines.runner import Options
    from pipelines.tools import press
    from pipelines.tools import run as run_tool
    from pipelines.tools.text_to_image import press as press_preset

    check_json(json_)
    run_tool.check_one_model(model, torch, jax)
    if model is not None and stable_diffusion.is_preset(model):
        others = {"--data": data, "--pixels": pixels, "--name": name, "--task": task, "--target-column": target,
                  "--allow-code": allow_code or None}
        for line in press_preset.press(press_preset.TextToImageSettings(
                str(model), out, size, variants, targets, json_), others):
            typer.echo(line)
        return
    if data is None or size is not None:
        reason = ("give --data DATA, what it is measured on" if data is None
                  else "--size is of text-to-image presets; leave it out")
        raise UserError(f"press: {model or torch or jax}: {reason}")
    if out is not None:
        press.check_out(out)
    settings = press.PressSettings(
        model=model or Path(), data=data, scratch=runs / ".given", variants=variants, targets=targets, name=name,
        pixels=pixels, allow_code=allow_code, task=task, target=target,  # type: ignore[arg-type]  # read_pixels has checked it
        layout=layout, torch=torch, jax=jax)  # type: ignore[arg-type]  # and read_layout
    display = Display(Console())
    runner = run_tool.pressing(settings, Options(runs, track=track), display, sys.argv, _gates(gate or []))
    _run(runner, display, json_, out=out)


def _gates(given: list[str]) -> dict[str, str]:
    """Return thresholds that options give, by the names that recipes call them. Raises UserError."""
    gates = {}
    for text in given:
        name, _, limit = text.strip().partition(" ")
        if not limit:
            raise UserError(f"--gate {text}: write it as \"int8.drop <= 0.005\"")
        gates[name] = limit.strip()
    return gates


def _run(runner: Runner, display: Display, json_: Optional[Path], hint: str = "", out: Optional[Path] = None) -> None:
    """Run a recipe to its end and show its results, those that there are where it does not come to its end.

    Args:
        hint: how to try variants again that failed.
        out: folder for the bundle, with what could be made.
    """
    from pipelines.engine import runs as records
    from pipelines.tools import run

    try:
        run.finish(runner, hint)
    except KeyboardInterrupt:
        typer.echo("interrupted; run again to go on", err=True)
        raise typer.Exit(130) from None
    finally:
        if runner.results is not None:
            if json_ is not None:
                records.write_whole(json_, runner.results.model_dump_json(indent=1) + "\n")
            _show(display, runner.results)
            if out is not None:
                run.deliver(out, display, runner.results)


def _show(display: Display, results: Results) -> None:
    if table := results.table():
        display.line(f"\n{table}\n")
    if results.gates:
        display.line("  gates   " + "   ".join(str(gate) for gate in results.gates))
    if results.report:
        folder = Path(results.report).parent
        served = any(one.target == "saved_model" for one in results.artifacts)
        serve = f"   serve  litepress serve {folder}" if served else ""
        predict = f"predict  litepress predict {folder} FILE"
        display.line(f"  report  {results.report}   tracking  make ui   {predict}{serve}")


@app.command(rich_help_panel=TRAIN)
def check(recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs")) -> None:
    """Try everything on a few examples: the recipe, the data, one training step, one export."""
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import check

    read = recipe_file.read(recipe, set_ or [])
    typer.echo(f"recipe   {recipe} is well-formed")
    for line in check.check(read, runs):
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def show(recipe: RecipePath, set_: Overrides = None) -> None:
    """Print a recipe with every default filled in."""
    from pipelines.recipe import file as recipe_file

    typer.echo(recipe_file.write(recipe_file.read(recipe, set_ or [])), nl=False)


@app.command(rich_help_panel=LOOK)
def schema() -> None:
    """Print the JSON Schema of recipes, with which editors complete and check them."""
    from pipelines.recipe import json_schema

    typer.echo(json_schema.text(), nl=False)


@app.command(rich_help_panel=TRAIN)
def tune(
        recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
        trials: Annotated[Optional[int], typer.Option(min=1, help="how many, instead of tune.trials")] = None,
        track: Annotated[bool, typer.Option(help="send each trial to MLflow")] = True) -> None:
    """Search the recipe's tune.ranges for the settings that train best. Run it again to go on, or for more --trials."""
    from rich.console import Console

    from pipelines.engine import display
    from pipelines.runner import Options
    from pipelines.tools import tune

    overrides = [*(set_ or []), *([f"tune.trials={trials}"] if trials else [])]
    search = tune.Search(recipe, overrides, Options(runs, track=track), sys.argv, display.TrialDisplay(Console()))
    try:
        outcome = search(typer.echo)
    except KeyboardInterrupt:
        typer.echo("interrupted; run again to go on", err=True)
        raise typer.Exit(130) from None
    failed = f"; {outcome.failed} trials failed" if outcome.failed else ""
    typer.echo(f"\nbest  {outcome.metric} {outcome.value:.4f}{failed}\n      {'  '.join(outcome.settings)}\n"
               f"run   litepress run {outcome.folder / tune.BEST}\nsee   {outcome.folder / tune.FIGURE}")


@app.command(rich_help_panel=TRAIN)
def find_rate(
        recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
        steps: Annotated[int, typer.Option(min=20, help="training steps to take")] = 200) -> None:
    """Try learning rates from small to large on the recipe's model, draw the loss against them, and suggest a peak."""
    from rich.console import Console

    from pipelines.engine import display, workers
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import find_rate

    read = recipe_file.read(recipe, set_ or [])
    shown = display.Display(Console(stderr=True))
    path = runs / read.name / "learning_rate.png"
    shown.begin("find-rate")
    try:
        result = workers.call(find_rate.find, read.written(), steps, path, what="find-rate",
                              listen=lambda message: shown.progress(message["done"], message["text"]))
    finally:
        shown.close()
    diverged = f", and grew out of bounds at {result.diverged:.2g}" if result.diverged else ""
    typer.echo(f"suggested peak  {result.suggested:.2g}   the loss was lowest at {result.lowest:.2g}{diverged}\n"
               f"see             {path}")


@app.command(rich_help_panel=TRAIN)
def benchmark_input(
        recipe: RecipePath, set_: Overrides = None,
        seconds: Annotated[float, typer.Option(min=0.5, help="how long to measure each")] = 5.0) -> None:
    """Measure the examples per second of the input pipeline and of the training step, and name the bottleneck."""
    from pipelines.engine import workers
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import benchmark_input

    read = recipe_file.read(recipe, set_ or [])
    for line in workers.call(benchmark_input.measure, read.written(), seconds, what="benchmark-input").lines():
        typer.echo(line)
