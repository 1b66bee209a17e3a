"""What commands share: the application, and options that several have."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.errors import UserError

app = typer.Typer(
    name="litepress", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Train a Keras model from one recipe file, and press it for the phone, the NPU and TF Serving, proven equal "
         "to what was trained.",
    epilog="Exit codes: 0 success, 1 a gate was missed, 2 a problem you can fix, 3 a stage crashed, 130 interrupted.")

RecipePath = Annotated[Path, typer.Argument(
    metavar="RECIPE", help="a recipe file, for instance recipes/vision/digits.yaml")]
Overrides = Annotated[Optional[list[str]], typer.Option(
    "--set", metavar="A.B=VALUE", help="change a setting of the recipe, for instance train.epochs=30; may be repeated")]
RunsFolder = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="where runs and artifacts are kept")]
Json = Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write the results as JSON, too")]


def read_pixels(text: str) -> str:
    """Return a range of pixels that models are trained on, as it is called. Raises typer.BadParameter."""
    from export.keras_models.imported import SCALING  # which takes its time to import

    if text not in SCALING:
        raise typer.BadParameter(f"{text} is not one of {', '.join(SCALING)}")
    return text


def check_json(path: Optional[Path]) -> None:
    """Raise UserError where a --json file cannot be written."""
    check_file("--json", path)


def check_file(option: str, path: Optional[Path]) -> None:
    """Raise UserError where an option's file cannot be written because its folder does not exist."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}")
