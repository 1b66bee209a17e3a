"""Commands about serving."""
from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import SERVE, Json, Overrides, app, check_file, check_json
from pipelines.errors import GateError, UserError

LogFiles = Annotated[list[Path], typer.Argument(
    metavar="LOG...", help="recorded requests: TFRecord files of PredictionLog")]


class Protocol(str, enum.Enum):
    """How requests are sent to a server."""

    grpc = "grpc"
    rest = "rest"


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
             rich_help_panel=SERVE)
def serve(context: typer.Context) -> None:
    """Serve models as TF Serving does: [RUN or folder of versions] [flags of tensorflow_model_server]; see --help."""
    from pipelines.tools import serve

    serve.serve(context.args)


@app.command(rich_help_panel=SERVE)
def load_test(
        address: Annotated[str, typer.Argument(metavar="ADDRESS", help="host:port of a server")],
        recipe: Annotated[Path, typer.Option("--recipe", metavar="RECIPE", help="the recipe whose examples are sent")],
        set_: Overrides = None,
        model: Annotated[Optional[str], typer.Option(help="the model's name; the recipe's unless given")] = None,
        protocol: Annotated[Protocol, typer.Option(help="gRPC or REST")] = Protocol.grpc,
        rates: Annotated[Optional[str], typer.Option(
            metavar="LIST", help="requests per second, for instance 100,200,400; the highest is searched unless given",
        )] = None,
        objective: Annotated[float, typer.Option(min=0.1, help="milliseconds that 99 of 100 answers may take")] = 50.0,
        seconds: Annotated[float, typer.Option(min=0.5, help="how long each rate is kept up")] = 5.0,
        figure: Annotated[Optional[Path], typer.Option(
            "--figure", metavar="FILE.png", help="draw latency against rate")] = None,
        k6: Annotated[bool, typer.Option(
            "--k6", help="let k6 send the requests, if it is installed; over REST")] = False,
        json_: Json = None) -> None:
    """Send a server examples at rising rates: latency, errors, and the highest rate within the objective."""
    from pipelines.engine import runs as records
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import load_test

    check_json(json_)
    check_file("--figure", figure)
    read = recipe_file.read(recipe, set_ or [])
    settings = load_test.LoadSettings(
        address=address, model=model or read.name, protocol=protocol.value,
        rates=load_test.read_rates(rates) if rates else None, objective=objective, seconds=seconds, figure=figure,
        k6=load_test.find_k6(protocol.value) if k6 else "")
    result = load_test.test(read, settings, typer.echo)
    if json_ is not None:
        records.write_whole(json_, result.model_dump_json(indent=1) + "\n")


@app.command(rich_help_panel=SERVE)
def deploy(
        run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder, or a bundle's")],
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to make")],
        name: Annotated[str, typer.Option(help="of the model; the recipe's unless given")] = "",
        image: Annotated[str, typer.Option(help="what to call the container image")] = "",
        replicas: Annotated[str, typer.Option(metavar="MIN:MAX", help="fewest and most replicas")] = "2:10",
        cpus: Annotated[int, typer.Option(min=1, help="processors of a replica")] = 2,
        memory: Annotated[int, typer.Option(min=256, help="memory of a replica, MiB")] = 2048,
        canary: Annotated[int, typer.Option(min=0, max=100, help="percentage of requests that go to the canary")] = 10,
        storage: Annotated[str, typer.Option(metavar="URI", help="where KServe finds the model")] = "") -> None:
    """Write what a TF Serving fleet needs: repository, image, compose, Kubernetes, KServe, canary split, monitoring."""
    from pipelines.engine import workers
    from pipelines.tools import deploy
    from serving.deploy.files import Deployment

    fewest, colon, most = replicas.partition(":")
    if not (colon and fewest.isdigit() and most.isdigit() and 1 <= int(fewest) <= int(most)):
        raise UserError(f"--replicas {replicas}: give MIN:MAX, for instance 2:10")
    deployment = Deployment(name, image, cpus=cpus, memory_mb=memory, min_replicas=int(fewest), max_replicas=int(most),
                            canary_percent=canary, storage_uri=storage)
    deployed = workers.call(deploy.deploy, run, folder, deployment, what="deploy")
    typer.echo(f"{deployed} is ready to be deployed: see {folder / 'README.md'}")


@app.command(rich_help_panel=SERVE)
def replay(
        logs: LogFiles,
        address: Annotated[str, typer.Option("--address", metavar="HOST:PORT", help="the server's gRPC address")],
        model: Annotated[str, typer.Option("--model", help="the model's name")],
        old: Annotated[str, typer.Option("--old", metavar="VERSION", help="a version's number or label")],
        new: Annotated[str, typer.Option("--new", metavar="VERSION", help="the number or label of another")],
        agreement: Annotated[float, typer.Option(
            min=0, max=1, help="share of rows that must get the same class; exit 1 below it")] = 0.0,
        limit: Annotated[int, typer.Option(min=1, help="requests to send, at most")] = 1000,
        json_: Json = None) -> None:
    """Send recorded requests to two versions of a model and compare their answers."""
    from pipelines.engine import runs as records
    from pipelines.engine import workers
    from pipelines.tools import replay

    check_json(json_)
    result = workers.call(replay.replay, logs, address, model, old, new, limit, what="replay")
    for line in replay.lines(result, old, new):
        typer.echo(line)
    if json_ is not None:
        records.write_whole(json_, result.model_dump_json(indent=1) + "\n")
    lowest = min((one.same if one.same_top is None else one.same_top for one in result.outputs), default=0.0)
    errors = sum(map(len, result.errors.values()))
    if errors or lowest < agreement:
        raise GateError(f"replay: {new} answers as {old} on {lowest:.2%} of rows, {errors} errors; at least "
                        f"{agreement:.2%} and none were asked for")


@app.command(rich_help_panel=SERVE)
def drift(
        logs: LogFiles,
        recipe: Annotated[Path, typer.Option(
            "--recipe", metavar="RECIPE", help="the recipe whose training set they are compared with")],
        set_: Overrides = None,
        most: Annotated[float, typer.Option(
            "--most", min=0, help="population stability index above which to exit 1")] = 0.25,
        limit: Annotated[int, typer.Option(min=1, help="examples to read, at most")] = 2000,
        figure: Annotated[Optional[Path], typer.Option(
            "--figure", metavar="FILE.png", help="draw the distributions")] = None,
        json_: Json = None) -> None:
    """Compare the inputs and answers of recorded requests with the training set: of images brightness, contrast and
    sharpness, and the classes."""
    from pipelines.engine import runs as records
    from pipelines.engine import workers
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import drift

    check_json(json_)
    check_file("--figure", figure)
    read = recipe_file.read(recipe, set_ or [])
    result = workers.call(drift.drift, read.written(), logs, limit, figure, what="drift")
    for line in drift.lines(result):
        typer.echo(line)
    if json_ is not None:
        records.write_whole(json_, result.model_dump_json(indent=1) + "\n")
    if result.worst > most:
        raise GateError(f"drift: the worst index is {result.worst:.3f}, over {most:g}")
