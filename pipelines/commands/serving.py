"""Commands about serving."""
from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import Json, Overrides, app, check_json


class Protocol(str, enum.Enum):
    """How a server is asked."""

    grpc = "grpc"
    rest = "rest"


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]})
def serve(context: typer.Context) -> None:
    """Serve models as TF Serving does: [RUN or folder of numbered versions] [flags of tensorflow_model_server]; --helpfull lists them."""
    from pipelines import serving_commands

    serving_commands.serve(context.args)


@app.command()
def load_test(address: Annotated[str, typer.Argument(metavar="ADDRESS", help="host:port of a server")],
              recipe: Annotated[Path, typer.Option("--recipe", metavar="RECIPE", help="whose pictures are sent")],
              set_: Overrides = None,
              model: Annotated[Optional[str], typer.Option(help="the model's name; the recipe's where not given")] = None,
              protocol: Annotated[Protocol, typer.Option(help="gRPC or REST")] = Protocol.grpc,
              rates: Annotated[Optional[str], typer.Option(
                  metavar="LIST", help="requests a second, for instance 100,200,400; the highest is searched where not given")] = None,
              objective: Annotated[float, typer.Option(min=0.1, help="milliseconds that 99 of 100 answers may take")] = 50.0,
              seconds: Annotated[float, typer.Option(min=0.5, help="how long each rate is kept up")] = 5.0,
              picture: Annotated[Optional[Path], typer.Option("--picture", metavar="FILE.png", help="draw latency against rate")] = None,
              json_: Json = None) -> None:
    """Send a server pictures at rising rates: latency from when each was due, errors, and the highest rate within the objective."""
    from pipelines import load_testing, recipe_file
    from pipelines import runs as records

    check_json(json_)
    found = load_testing.test(recipe_file.read(recipe, set_ or []), address, model, protocol.value, rates, objective, seconds, picture,
                              typer.echo)
    if json_ is not None:
        records.write_whole(json_, found.model_dump_json(indent=1) + "\n")
