"""Commands that take what a run has made."""
from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import LOOK, PRESS, SHIP, Json, app, check_file, check_json, read_pixels
from pipelines.errors import UserError


class Architecture(str, enum.Enum):
    """The processors that can be emulated."""

    arm64 = "arm64"


BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="a run's folder, or a bundle's")]


@app.command(rich_help_panel=PRESS)
def explain(
        model: Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="an integer file")],
        reference: Annotated[Path, typer.Option(
            "--reference", metavar="MODEL.keras", help="the float model, or a float .tflite file")],
        data: Annotated[str, typer.Option(
            "--data", metavar="DATA",
            help="a folder of images, a .csv of images and labels, a .npz or .npy file, or tfds:NAME")],
        examples: Annotated[int, typer.Option(min=1, help="images to run")] = 64,
        figure: Annotated[Optional[Path], typer.Option(
            "--figure", metavar="FILE.png", help="draw the errors here")] = None,
        pixels: Annotated[str, typer.Option(
            parser=read_pixels, metavar="RANGE",
            help="the range of pixels that the reference was trained on: 0..255, 0..1 or -1..1")] = "0..255") -> None:
    """Show how far every operator of an integer file is from the float model's, and how to fix the worst three."""
    from pipelines.engine import workers
    from pipelines.tools import explain

    check_file("--figure", figure)
    for line in workers.call(explain.explain_file, model, reference, data, examples, figure, pixels, what="explain"):
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def inspect(
        model: Annotated[Path, typer.Argument(
            metavar="MODEL", help="a .tflite, .keras, .h5 or frozen .pb file, or a SavedModel folder")],
        tensors: Annotated[bool, typer.Option("--tensors", help="list every tensor with its quantization")] = False,
        json_: Json = None) -> None:
    """Look into a model: signatures, operators, sizes, memory, quantization, metadata, and which operators run on which
    hardware."""
    from pipelines.engine import runs as records
    from pipelines.engine import workers
    from pipelines.tools import inspect_model

    check_json(json_)
    inspected = workers.call(inspect_model.look, model, what="inspect")
    for line in inspect_model.lines(inspected, tensors):
        typer.echo(line)
    if json_ is not None:
        records.write_whole(json_, inspected.model_dump_json(indent=1) + "\n")


@app.command(rich_help_panel=PRESS)
def benchmark(
        artifacts: Annotated[list[Path], typer.Argument(
            metavar="ARTIFACT...", help=".tflite, .onnx, .xml, .cc or .keras files, SavedModels, or runs' folders")],
        threads: Annotated[int, typer.Option(min=1, help="processor threads to use")] = 1,
        repetitions: Annotated[int, typer.Option("--runs", min=20, help="timed runs of each")] = 300,
        profile: Annotated[bool, typer.Option("--profile", help="time the operators of TFLite files, too")] = False,
        tool: Annotated[Optional[Path], typer.Option(
            "--benchmark-model", metavar="FILE",
            help="LiteRT's benchmark_model, to time TFLite files on the attached phone")] = None,
        json_: Json = None) -> None:
    """Time artifacts side by side: latency, throughput, loading and memory, on every runtime installed here, and on a
    phone."""
    from pipelines.engine import runs as records
    from pipelines.tools import benchmark

    check_json(json_)
    paths = benchmark.files_of(artifacts)
    phone = benchmark.on_phone(paths, tool, threads, repetitions) if tool is not None else []
    result = benchmark.benchmark(paths, threads, repetitions, profile).model_copy(update={"phone": phone})
    for line in benchmark.lines(result):
        typer.echo(line)
    if tool is None and any(path.suffix == ".tflite" for path in paths):
        typer.echo("  on this machine; to time on an attached phone, give LiteRT's benchmark_model with "
                   "--benchmark-model")
    if json_ is not None:
        records.write_whole(json_, result.model_dump_json(indent=1) + "\n")


@app.command(rich_help_panel=LOOK)
def predict(
        artifact: Annotated[Path, typer.Argument(
            help="a run's folder, a .tflite or .keras file, or a SavedModel's version folder")],
        files: Annotated[list[Path], typer.Argument(
            metavar="FILE...", help="what the model takes, for instance images or folders of them")],
        out: Annotated[Optional[Path], typer.Option(
            "--out", metavar="FOLDER", help="of detectors: draw the boxes on the images here, and write results.json "
                                            "as COCO has it")] = None) -> None:
    """Show what a model says of some files, for instance the classes of images."""
    from pipelines.tools import predict

    for line in predict.predict(artifact, files, out):
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def generate(
        artifact: Annotated[str, typer.Argument(
            help="a language model: a run's folder, a .tflite, .litertlm or .keras file, a SavedModel's folder, or a "
                 "server's: http://host:port/v1/models/NAME or grpc://host:port/NAME")],
        prompt: Annotated[str, typer.Option(help="the text to go on with")] = "",
        chat: Annotated[Optional[Path], typer.Option(
            metavar="FILE", help="the conversation to answer, in place of a prompt: its messages as JSON")] = None,
        tokens: Annotated[int, typer.Option("--tokens", "--characters", help="to add, at most")] = 200,
        greedy: Annotated[bool, typer.Option("--greedy", help="take the likeliest token each time")] = False,
        temperature: Annotated[Optional[float], typer.Option(
            help="0 takes the likeliest token each time; the higher, the more daring; 0 where not given, and 1 with "
                 "--top-k or --top-p")] = None,
        top_k: Annotated[int, typer.Option("--top-k", help="draw from so many likeliest tokens; 0 from all")] = 0,
        top_p: Annotated[float, typer.Option(
            "--top-p", help="draw from the likeliest tokens that have this probability together")] = 1.0,
        repetition_penalty: Annotated[float, typer.Option(
            "--repetition-penalty", help="above 1, tokens that were there are less likely")] = 1.0,
        beams: Annotated[int, typer.Option(help="texts that a beam search follows; 1 is no search")] = 1,
        length_penalty: Annotated[float, typer.Option(
            "--length-penalty", help="of --beams: the higher, the longer the texts that may end")] = 0.6,
        min_tokens: Annotated[int, typer.Option("--min-tokens", help="before the text may end")] = 0,
        stop: Annotated[Optional[list[str]], typer.Option(
            metavar="TEXT", help="ends the text, and is left out; may be given again")] = None,
        seed: Annotated[int, typer.Option(help="of what is drawn")] = 0) -> None:
    """Let a language model go on with a text: what it adds is printed, and nothing else."""
    from export.writing.sampling import Sampling
    from pipelines.tasks.language_model.writing import Writing
    from pipelines.tools import generate

    if chat is not None and prompt:
        raise UserError("generate: --prompt and --chat: one of the two")
    draws = bool(temperature) or top_k != 0 or top_p != 1
    if greedy and draws:
        raise UserError("generate: --greedy takes the likeliest token each time; leave it out, or --temperature, "
                        "--top-k and --top-p")
    if temperature == 0 and draws:
        raise UserError("generate: --temperature 0 takes the likeliest token each time; leave --top-k and --top-p out, "
                        "or give more than 0")
    heat = float(draws) if temperature is None else temperature
    how = Writing(tokens, Sampling(heat, top_k, top_p, repetition_penalty, seed), beams, length_penalty, min_tokens,
                  tuple(stop or ()))
    shown: list[str] = []

    def tell(piece: str) -> None:
        if sys.stdout.isatty():
            typer.echo(piece, nl=False)
            sys.stdout.flush()
        else:
            shown.append(piece)

    asked = prompt if chat is None else generate.conversation(chat)
    generate.generate(artifact, asked, how, tell, lambda line: typer.echo(line, err=True))
    typer.echo("".join(shown))


@app.command(rich_help_panel=SHIP)
def verify(
        bundle: Annotated[Path, typer.Argument(
            metavar="BUNDLE", help="a run's folder, or a bundle's, or its zip file")],
        arch: Annotated[Optional[Architecture], typer.Option(
            help="run the TFLite files on this processor, emulated")] = None,
        on_gpu: Annotated[bool, typer.Option(
            "--gpu", help="run the float TFLite files on LiteRT's GPU accelerator")] = False) -> None:
    """Run a bundle's models on its golden samples again: here, on the GPU, or on an emulated arm64 processor."""
    from pipelines.tools import verify_bundle

    if arch is not None and on_gpu:
        raise UserError("--arch and --gpu: one of the two; the emulated processor has no GPU")
    where: verify_bundle.Where = "arm64" if arch else "gpu" if on_gpu else "here"
    verification = verify_bundle.verify(bundle, where, lambda text: typer.echo(f"  {text} …"))
    for one in verification.checked:
        typer.echo(one)
    verification.require()


@app.command(rich_help_panel=SHIP)
def keys(private: Annotated[Path, typer.Argument(
        metavar="FILE", help="the private key to make; the public one is FILE.pub")]) -> None:
    """Make a pair of Ed25519 keys: one to sign bundles with, one for apps to check them."""
    from pipelines.tools import publish

    typer.echo(f"sign with {private}, and keep it secret; check with {publish.make_keys(private)}")


@app.command(rich_help_panel=SHIP)
def publish(
        bundle: BundleFolder,
        destination: Annotated[str, typer.Argument(
            metavar="DEST", help="a folder, or a URL such as s3://bucket/models")],
        key: Annotated[Optional[Path], typer.Option(
            "--key", metavar="FILE", help="the private key to sign with")] = None) -> None:
    """Publish a bundle under its name and version. A version appears all at once, and is never overwritten."""
    from pipelines.tools import publish

    typer.echo(f"published {publish.publish(bundle, destination, key)}")
    if key is None:
        typer.echo("not signed: nobody can tell who made it; litepress keys makes a key to give with --key")


@app.command(rich_help_panel=SHIP)
def fetch(
        source: Annotated[str, typer.Argument(metavar="SOURCE", help="where it was published")],
        name: Annotated[str, typer.Argument(
            metavar="NAME[@VERSION]", help="the bundle's name; its highest version unless one is given")],
        target: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to make")],
        verify: Annotated[Optional[Path], typer.Option(
            "--verify", metavar="FILE", help="the public key to check with")] = None) -> None:
    """Fetch a published bundle. Every file is checked against the manifest, and with --verify the manifest against its
    signature."""
    from pipelines.tools import publish

    fetched = publish.fetch(source, name, target, verify)
    size = sum(one.bytes for one in fetched.files)
    typer.echo(f"{fetched.name} {fetched.version}: {len(fetched.files)} files, {size:,} bytes, "
               f"{'signature and digests' if verify else 'digests'} checked; in {target}")
