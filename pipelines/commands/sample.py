"""The command that makes pictures."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import LOOK, app


@app.command(rich_help_panel=LOOK)
def sample(
        artifact: Annotated[Path, typer.Argument(
            metavar="RUN", help="a run's folder, or a .tflite or .keras file in it; or what press made of a preset")],
        seed: Annotated[int, typer.Option(help="of the noise: the same seed makes the same pictures")] = 0,
        count: Annotated[int, typer.Option(help="pictures")] = 16,
        name: Annotated[Optional[str], typer.Option(
            "--class", metavar="NAME", help="the class to make, where the model takes one; all in turn")] = None,
        text: Annotated[Optional[str], typer.Option(
            metavar="TEXT", help="what to make, where the model takes a text; nothing in particular if not given"
        )] = None,
        steps: Annotated[Optional[int], typer.Option(
            help="that a diffusion takes from noise to a picture; the recipe's number if not given")] = None,
        guidance: Annotated[Optional[float], typer.Option(
            help="how far a diffusion exaggerates what is asked for: 1 is not at all; else the recipe's")] = None,
        negative: Annotated[Optional[str], typer.Option(
            metavar="TEXT", help="what pictures of Stable Diffusion do not show")] = None,
        image: Annotated[Optional[Path], typer.Option(
            metavar="FILE", help="the picture that a diffusion makes others of")] = None,
        strength: Annotated[Optional[float], typer.Option(
            help="how much of --image is to change, 0 to 1; 0.6 if not given, and 1 with --mask")] = None,
        mask: Annotated[Optional[Path], typer.Option(
            metavar="FILE", help="white where --image is made anew; the rest is kept")] = None,
        out: Annotated[Path, typer.Option(
            "--out", metavar="FOLDER", help="for the pictures, and grid.png with all")] = Path("samples")) -> None:
    """Make pictures out of noise, by a model of image_generation."""
    from pipelines.tools import originals, sample

    original = originals.OriginalWish(image, mask, strength)
    wish = sample.Wish(seed, count, name, text, steps, guidance, negative, original)
    typer.echo(sample.sample(artifact, wish, out))
