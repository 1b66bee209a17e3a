"""The command that says what a training will take."""
from __future__ import annotations

from typing import Annotated, Optional

import typer

from pipelines.commands.options import TRAIN, Json, Overrides, RecipePath, app, check_json


@app.command(rich_help_panel=TRAIN)
def plan(
        recipe: RecipePath, set_: Overrides = None,
        accelerator: Annotated[Optional[str], typer.Option(
            metavar="NAME", help="for instance h100 or tpu_v5e; here is this machine, measured; all where not given")
        ] = None,
        devices: Annotated[int, typer.Option(min=1, help="how many of them share a batch")] = 1,
        price: Annotated[Optional[float], typer.Option(
            min=0, metavar="PER_HOUR", help="of one for an hour, in any currency")] = None,
        utilization: Annotated[float, typer.Option(
            min=0.01, max=1, help="share of the peak speed that the training reaches")] = 0.4,
        tokens: Annotated[Optional[int], typer.Option(
            min=1, help="of the training texts, which are then not read; sizes are the recipe's and the paper's")
        ] = None,
        json_: Json = None) -> None:
    """Say what a recipe's training will take: parameters, operations, memory, time and cost. Nothing is trained."""
    from pipelines.engine import runs, workers
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import outlook
    from pipelines.tools.plan import Options

    read = recipe_file.read(recipe, set_ or [])
    check_json(json_)
    result = workers.call(outlook.of_recipe, read.written(), Options(devices, tokens), accelerator, utilization, price,
                          what="plan")
    for line in outlook.lines(result):
        typer.echo(line)
    if json_ is not None:
        runs.write_whole(json_, result.model_dump_json(indent=1) + "\n")
