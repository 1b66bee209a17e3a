"""The commands of `litepress`. What they need is imported when they run, so that `--help` answers at once."""
from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.errors import GateError, StageError, UserError

app = typer.Typer(
    name="litepress", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Train a Keras model from one recipe file, and press it for the phone, the NPU and TF Serving, proven equal to what was trained.",
    epilog="Exit codes: 0 all well, 1 a gate was missed, 2 something in your hands to mend, 3 a stage crashed, 130 interrupted.")

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe file, for instance recipes/vision/digits.yaml")]
Overrides = Annotated[Optional[list[str]], typer.Option(
    "--set", metavar="A.B=VALUE", help="change a setting of the recipe, for instance train.epochs=30; may be repeated")]
RunsFolder = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="where runs and artifacts are kept")]


class StageName(str, enum.Enum):
    """The stages of a run."""

    ingest = "ingest"
    train = "train"
    evaluate = "evaluate"
    compress = "compress"
    export = "export"
    verify = "verify"
    package = "package"


class PixelRange(str, enum.Enum):
    """The ranges of pixels that models are trained on."""

    raw = "0..255"
    unit = "0..1"
    centred = "-1..1"


class Architecture(str, enum.Enum):
    """The processors that can be emulated."""

    arm64 = "arm64"


class Kind(str, enum.Enum):
    """What `litepress list` can list."""

    recipes = "recipes"
    models = "models"
    sources = "sources"
    variants = "variants"
    targets = "targets"


@app.command()
def run(recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
        start: Annotated[Optional[StageName], typer.Option("--from", help="make this stage and those after it anew")] = None,
        until: Annotated[Optional[StageName], typer.Option("--until", help="stop after this stage")] = None,
        force: Annotated[bool, typer.Option("--force", help="make every stage anew")] = False,
        track: Annotated[bool, typer.Option(help="send the run to MLflow")] = True,
        json_: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write the results for machines")] = None) -> None:
    """Run a recipe through all stages: from data to verified models. Stages that have run before are not run again."""
    from rich.console import Console

    from pipelines import recipe_file
    from pipelines.display import Display
    from pipelines.runner import Options
    from pipelines.training import distribution

    display = Display(Console())
    read = recipe_file.read(recipe, set_ or [])
    _check_json(json_)
    display.line(f"{read.name} · {read.model.builder} on {read.data.source.entry_name} · seed {read.seed}")
    options = Options(runs, "ingest" if force else start.value if start else None, until.value if until else None, track)
    worker = distribution.role() if read.train.strategy in ("auto", "multi_worker") else distribution.Role()
    if not worker.is_chief:
        display.line(f"  worker {worker.index} of {worker.count}: trains with the others; worker 0 does the rest")
        options = Options(runs / f"worker-{worker.index}", options.start, "train", track=False)
    _run(read, str(recipe), options, display, json_, "; --from compress tries again")


@app.command()
def press(model: Annotated[Path, typer.Argument(metavar="MODEL", help="a trained model: .keras, .h5, .tflite, or a SavedModel folder")],
          data: Annotated[str, typer.Option("--data", metavar="DATA", help="a folder of pictures, a .npz or .npy file, or tfds:NAME")],
          variants: Annotated[Optional[str], typer.Option(metavar="LIST", help='for instance float16,int8 or "int8,{qat: 5}"')] = None,
          targets: Annotated[Optional[str], typer.Option(
              metavar="LIST", help='for instance litert,onnx or "litert,{ethos-u: ethos-u65-256}"')] = None,
          pixels: Annotated[Optional[PixelRange], typer.Option(help="the range of pixels that the model learnt on")] = None,
          name: Annotated[Optional[str], typer.Option(help="what the runs are called")] = None,
          out: Annotated[Optional[Path], typer.Option("--out", metavar="FOLDER", help="put the bundle and the report here")] = None,
          runs: RunsFolder = Path("runs"), track: Annotated[bool, typer.Option(help="send the run to MLflow")] = True,
          json_: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write the results for machines")] = None) -> None:
    """Press a model that was made elsewhere: variants, verification, report and bundle, as a recipe's run gives them."""
    from rich.console import Console

    from pipelines import pressing
    from pipelines.display import Display
    from pipelines.runner import Options

    _check_json(json_)
    if out is not None:
        pressing.check_out(out)
    made = pressing.recipe_for(model, data, variants=variants, targets=targets, pixels=pixels.value if pixels else None, name=name,
                               scratch=runs / ".given")
    display = Display(Console())
    display.line(f"{made.name} · {model} on {data}")
    if made.data.labels == "model":
        display.line(f"  {data} has no labels: accuracy is the share of pictures on which a file answers as {model.name} does")
    found = _run(made, str(model), Options(runs, track=track), display, json_)
    if out is not None and found is not None:
        pressing.bundle_to(out, found)
        display.line(f"  bundle  {out}")


@app.command()
def explain(model: Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="an integer file")],
            reference: Annotated[Path, typer.Option("--reference", metavar="MODEL.keras", help="the float model, or a float .tflite file")],
            data: Annotated[str, typer.Option("--data", metavar="DATA", help="a folder of pictures, a .npz or .npy file, or tfds:NAME")],
            examples: Annotated[int, typer.Option(min=1, help="pictures to run")] = 64,
            picture: Annotated[Optional[Path], typer.Option("--picture", metavar="FILE.png", help="draw the errors here")] = None,
            pixels: Annotated[PixelRange, typer.Option(help="the range of pixels that the reference learnt on")] = PixelRange.raw) -> None:
    """Show how far every operator of an integer file is from the float model's, and what to do about the worst three."""
    from pipelines import pressing, workers

    if picture is not None and not picture.absolute().parent.is_dir():
        raise UserError(f"--picture {picture}: there is no folder {picture.parent}")
    for line in workers.call(pressing.explain_file, model, reference, data, examples, picture, pixels.value, what="explain"):
        typer.echo(line)


@app.command()
def inspect(model: Annotated[Path, typer.Argument(metavar="MODEL", help="a .tflite, .keras or .h5 file, or a SavedModel folder")],
            tensors: Annotated[bool, typer.Option("--tensors", help="list every tensor with its quantization")] = False,
            json_: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write what was found for machines")] = None,
            ) -> None:
    """Look into a model: signatures, operators, sizes, memory, quantization, metadata, and which operators run on which hardware."""
    from pipelines import inspecting, workers
    from pipelines import runs as records

    _check_json(json_)
    looked = workers.call(inspecting.look, model, what="inspect")
    for line in inspecting.lines(looked, tensors):
        typer.echo(line)
    if json_ is not None:
        records.write_whole(json_, looked.model_dump_json(indent=1) + "\n")


@app.command()
def benchmark(artifacts: Annotated[list[Path], typer.Argument(
                  metavar="ARTIFACT...", help=".tflite, .onnx, .xml, .cc or .keras files, SavedModels, or runs' folders")],
              threads: Annotated[int, typer.Option(min=1, help="processor threads to use")] = 1,
              repetitions: Annotated[int, typer.Option("--runs", min=20, help="timed runs of each")] = 300,
              profile: Annotated[bool, typer.Option("--profile", help="time the operators of TFLite files, too")] = False,
              tool: Annotated[Optional[Path], typer.Option(
                  "--benchmark-model", metavar="FILE", help="LiteRT's benchmark_model, to time TFLite files on the attached phone")] = None,
              json_: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write the figures for machines")] = None,
              ) -> None:
    """Time artifacts side by side: latency, throughput, loading, memory, on every runtime that is here, and on a phone."""
    from pipelines import benchmarking
    from pipelines import runs as records

    _check_json(json_)
    paths = benchmarking.files_of(artifacts)
    phone = benchmarking.on_phone(paths, tool, threads, repetitions) if tool is not None else []
    found = benchmarking.benchmark(paths, threads, repetitions, profile).model_copy(update={"phone": phone})
    for line in benchmarking.lines(found):
        typer.echo(line)
    if tool is None and any(path.suffix == ".tflite" for path in paths):
        typer.echo("  on this machine; to time on an attached phone, give LiteRT's benchmark_model with --benchmark-model")
    if json_ is not None:
        records.write_whole(json_, found.model_dump_json(indent=1) + "\n")


def _check_json(path: Optional[Path]) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise UserError(f"--json {path}: there is no folder {path.parent}")


def _run(recipe, path: str, options, display, json_: Optional[Path], again: str = ""):
    """Runs a recipe to its end and shows what it found; the results. `again` says how to try variants again that failed."""
    from pipelines import results
    from pipelines import runs as records
    from pipelines.runner import Runner

    runner = Runner(recipe, path, options, display, sys.argv)
    try:
        ended = runner()
        if ended.failed:
            logs = options.runs / recipe.name / "latest"
            raise StageError("\n".join((ended.failed | ended.left_out).values()) + "\nThe others went on. See log.txt in "
                             f"{logs / 'compress'} and {logs / 'export'}{again}.")
        if ended.left_out:
            raise UserError("\n".join(ended.left_out.values()))
    except KeyboardInterrupt:
        typer.echo("interrupted; run again to go on", err=True)
        raise typer.Exit(130) from None
    finally:
        found = runner.found
        if found is not None:
            if json_ is not None:
                records.write_whole(json_, found.model_dump_json(indent=1) + "\n")
            _show(display, found, *filter(None, (results.table(found), results.compiled_table(found))))
    return found


def _show(display, found, *tables: str) -> None:
    if tables:
        display.line("\n" + "\n\n".join(tables) + "\n")
    if found.gates:
        display.line("  gates   " + "   ".join(str(gate) for gate in found.gates))
    if found.report:
        folder = Path(found.report).parent
        display.line(f"  report  {found.report}   tracking  make ui   predict  litepress predict {folder} PICTURE")


@app.command()
def check(recipe: RecipePath, set_: Overrides = None) -> None:
    """Try everything dry: the recipe, the data, one training step on a few examples, one export."""
    from pipelines import checking, recipe_file

    read = recipe_file.read(recipe, set_ or [])
    typer.echo(f"recipe   {recipe} is well-formed")
    for line in checking.check(read):
        typer.echo(line)


@app.command()
def show(recipe: RecipePath, set_: Overrides = None) -> None:
    """Print a recipe with every default filled in."""
    from pipelines import recipe_file

    typer.echo(recipe_file.write(recipe_file.read(recipe, set_ or [])), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, with which editors complete and check them."""
    from pipelines import recipe_schema

    typer.echo(recipe_schema.text(), nl=False)


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="what to list")]) -> None:
    """List the recipes, models, sources, variants or targets there are."""
    from pipelines import listing

    for name, summary in listing.rows(kind.value):
        typer.echo(f"{name:<28}  {summary}".rstrip())


@app.command()
def models() -> None:
    """Show every model at its paper's setting: weights, multiply-adds, size as float32 and as int8."""
    from pipelines import listing, workers

    for line in workers.call(listing.model_table, what="models"):
        typer.echo(line)


@app.command()
def tune(recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
         trials: Annotated[Optional[int], typer.Option(min=1, help="how many, instead of tune.trials")] = None,
         track: Annotated[bool, typer.Option(help="send each trial to MLflow")] = True) -> None:
    """Search the settings that train best over the recipe's tune.ranges. Run it again to go on, with more --trials too."""
    from rich.console import Console

    from pipelines import display, tuning
    from pipelines.runner import Options

    overrides = [*(set_ or []), *([f"tune.trials={trials}"] if trials else [])]
    search = tuning.Search(recipe, overrides, Options(runs, track=track), sys.argv, display.TrialDisplay(Console()))
    try:
        found = search(typer.echo)
    except KeyboardInterrupt:
        typer.echo("interrupted; run again to go on", err=True)
        raise typer.Exit(130) from None
    failed = f"; {found.failed} trials failed" if found.failed else ""
    typer.echo(f"\nbest  {search.section.metric} {found.value:.4f}{failed}\n      {'  '.join(found.settings)}\n"
               f"run   litepress run {found.folder / tuning.BEST}\nsee   {found.folder / tuning.PICTURE}")


@app.command()
def find_rate(recipe: RecipePath, set_: Overrides = None, runs: RunsFolder = Path("runs"),
              steps: Annotated[int, typer.Option(min=20, help="training steps to take")] = 200) -> None:
    """Try learning rates from small to large on the recipe's model, draw the loss against them, and suggest a peak."""
    from rich.console import Console

    from pipelines import display, rate_finder, recipe_file, workers

    read = recipe_file.read(recipe, set_ or [])
    shown = display.Display(Console(stderr=True))
    path = runs / read.name / "learning_rate.png"
    shown.begin("find-rate")
    try:
        found = workers.call(rate_finder.find, read.written(), steps, path, what="find-rate",
                             listen=lambda said: shown.progress(said["done"], said["text"]))
    finally:
        shown.close()
    typer.echo(f"suggested peak  {found.suggested:.2g}   the loss was lowest at {found.lowest:.2g}"
               f"{f', and grew out of bounds at {found.diverged:.2g}' if found.diverged else ''}\nsee             {path}")


@app.command()
def benchmark_input(recipe: RecipePath, set_: Overrides = None,
                    seconds: Annotated[float, typer.Option(min=0.5, help="how long to measure each")] = 5.0) -> None:
    """Measure the examples per second of the input pipeline and of the training step, and say which is the bottleneck."""
    from pipelines import input_speed, recipe_file, workers

    read = recipe_file.read(recipe, set_ or [])
    for line in workers.call(input_speed.measure, read.written(), seconds, what="benchmark-input").lines():
        typer.echo(line)


@app.command()
def predict(artifact: Annotated[Path, typer.Argument(help="a run's folder, a .tflite or .keras file, or a SavedModel's version folder")],
            files: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="picture files")]) -> None:
    """Classify pictures with a model."""
    from pipelines import predicting

    for line in predicting.predict(artifact, files):
        typer.echo(line)


@app.command()
def verify(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a run's folder, or a bundle's")],
           arch: Annotated[Optional[Architecture], typer.Option(help="ask the TFLite files on this processor, emulated")] = None,
           on_gpu: Annotated[bool, typer.Option("--gpu", help="ask the float TFLite files on LiteRT's GPU accelerator")] = False) -> None:
    """Ask a bundle's models its golden samples again: here, on the GPU, or on an emulated arm64 processor."""
    from pipelines import verifying

    if arch is not None and on_gpu:
        raise UserError("--arch and --gpu: one of the two; the emulated processor has no GPU")
    found = verifying.verify(bundle, "arm64" if arch else "gpu" if on_gpu else "here", lambda text: typer.echo(f"  {text} …"))
    for one in found:
        typer.echo(one)
    if wrong := [one.name for one in found if not one.passed]:
        raise GateError(f"verify: {', '.join(wrong)} {'does' if len(wrong) == 1 else 'do'} not answer as recorded")


@app.command()
def keys(private: Annotated[Path, typer.Argument(metavar="FILE", help="the private key to make; the public one is FILE.pub")]) -> None:
    """Make a pair of Ed25519 keys: one to sign bundles with, one for apps to check them."""
    from pipelines import delivering

    typer.echo(f"sign with {private}, and keep it secret; check with {delivering.make_keys(private)}")


@app.command()
def publish(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a run's folder, or a bundle's")],
            destination: Annotated[str, typer.Argument(metavar="DEST", help="a folder, or a URL such as s3://bucket/models")],
            key: Annotated[Optional[Path], typer.Option("--key", metavar="FILE", help="the private key to sign with")] = None) -> None:
    """Publish a bundle under its name and version. A version is whole or not there, and never overwritten."""
    from pipelines import delivering

    typer.echo(f"published {delivering.publish(bundle, destination, key)}")
    if key is None:
        typer.echo("not signed: nobody can tell who made it; litepress keys makes a key to give with --key")


@app.command()
def fetch(source: Annotated[str, typer.Argument(metavar="SOURCE", help="where it was published")],
          name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="the bundle's name; its highest version where none is given")],
          target: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to make")],
          verify: Annotated[Optional[Path], typer.Option("--verify", metavar="FILE", help="the public key to check with")] = None) -> None:
    """Fetch a published bundle, every file checked against its manifest, and with --verify the manifest against its signature."""
    from pipelines import delivering

    found = delivering.fetch(source, name, target, verify)
    typer.echo(f"{found.name} {found.version}: {len(found.files)} files, {sum(one.bytes for one in found.files):,} bytes, "
               f"{'signature and digests' if verify else 'digests'} checked; in {target}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Write a run's report anew and say where it is."""
    from pipelines import report as reporting
    from pipelines import runs, workers

    loaded = runs.load(run)
    workers.call(reporting.write, loaded.folder, what="report")
    typer.echo(loaded.folder / reporting.NAME)


@app.command()
def doctor() -> None:
    """Show versions, devices, and which targets are ready here or what to install for them."""
    from pipelines import doctoring

    for line in doctoring.lines():
        typer.echo(line)


@app.command()
def gc(runs: RunsFolder = Path("runs"),
       dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False) -> None:
    """Free what no run refers to: artifacts, interrupted work, the trash. Delete a run's folder first to free what it alone needs."""
    from pipelines import garbage

    for line in garbage.collect(runs, dry_run):
        typer.echo(line)


@app.command()
def track(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Send a run to MLflow, or the rest of it: for runs whose tracking failed or was left out."""
    from pipelines import runs, tracking

    loaded = runs.load(run)
    try:
        parent = tracking.upload(loaded.folder)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"tracking: {tracking.uri(loaded.folder.parent.parent)} does not take the run: "
                        f"{' '.join(str(error).split())[:200]}") from error
    typer.echo(f"tracked as {parent} in {tracking.uri(loaded.folder.parent.parent)}")


def main() -> None:
    """The console script."""
    try:
        app()
    except UserError as error:
        _end(error, 2)
    except GateError as error:
        _end(error, 1)
    except StageError as error:
        _end(error, 3)


def _end(error: Exception, code: int) -> None:
    sys.stdout.flush()
    print(error, file=sys.stderr)
    sys.exit(code)
