"""What commands share: the application, and options that several have."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from pipelines.errors import UserError

#: The groups in which --help lists the commands.
TRAIN, PRESS, SHIP, SERVE, LOOK = "Train", "Press", "Ship", "Serve", "Look"
LONGEST_SENTENCE = 200


class Grouped(TyperGroup):
    """Lists its commands by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, the commands in the order in which they became known, each with the first
        sentence of its help."""
        width = max(map(len, self.commands))
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in (TRAIN, PRESS, SHIP, SERVE, LOOK)}
        for name, command in self.commands.items():
            groups[command.rich_help_panel].append(  # type: ignore[attr-defined]  # typer's commands have it
                (name.ljust(width), command.get_short_help_str(LONGEST_SENTENCE)))
        for title, commands in groups.items():
            with formatter.section(title):
                formatter.write_dl(commands)


app = typer.Typer(
    name="litepress", cls=Grouped, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
    """Return a range of pixels that models are trained on. Raises UserError."""
    from pipelines.tools.written_option import pixels_of

    return pixels_of(text)


def read_layout(text: str) -> str:
    """Return an order of axes. Raises UserError."""
    from pipelines.tools.written_option import layout_of

    return layout_of(text)


def check_json(path: Optional[Path]) -> None:
    """Raise UserError where a --json file cannot be written."""
    check_file("--json", path)


def check_file(option: str, path: Optional[Path]) -> None:
    """Raise UserError where an option's file cannot be written because its folder does not exist."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}")
