"""The command that makes pictures."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import LOOK, app


@app.command(rich_help_panel=LOOK)
def sample(
        artifact: Annotated[Path, typer.Argument(
            metavar="RUN", help="a run's folder, or a .tflite or .keras file in it")],
        seed: Annotated[int, typer.Option(help="of the noise: the same seed makes the same pictures")] = 0,
        count: Annotated[int, typer.Option(help="pictures")] = 16,
        name: Annotated[Optional[str], typer.Option(
            "--class", metavar="NAME", help="the class to make, where the model takes one; all in turn")] = None,
        steps: Annotated[Optional[int], typer.Option(
            help="that a diffusion takes from noise to a picture; the recipe's number if not given")] = None,
        guidance: Annotated[Optional[float], typer.Option(
            help="how far a diffusion exaggerates the class: 1 is not at all; the recipe's if not given")] = None,
        out: Annotated[Path, typer.Option(
            "--out", metavar="FOLDER", help="for the pictures, and grid.png with all")] = Path("samples")) -> None:
    """Make pictures out of noise, by a model of image_generation."""
    from pipelines.tools import sample

    typer.echo(sample.sample(artifact, sample.Wish(seed, count, name, steps, guidance), out))
