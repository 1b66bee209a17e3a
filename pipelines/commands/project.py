"""Commands about what there is: recipes, models, targets, runs, this machine."""
from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import LOOK, RunsFolder, app
from pipelines.errors import UserError


class Kind(str, enum.Enum):
    """What `litepress list` can list."""

    recipes = "recipes"
    models = "models"
    tasks = "tasks"
    features = "features"
    sources = "sources"
    variants = "variants"
    targets = "targets"


@app.command("list", rich_help_panel=LOOK)
def list_(kind: Annotated[Kind, typer.Argument(help="what to list")]) -> None:
    """List the available recipes, models, tasks, features, sources, variants or targets."""
    from pipelines.tools import listing

    for name, summary in listing.rows(kind.value):
        typer.echo(f"{name:<28}  {summary}".rstrip())


@app.command(rich_help_panel=LOOK)
def report(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Write a run's report again and print where it is."""
    from pipelines.engine import runs, workers
    from pipelines.reporting import report as reporting

    loaded = runs.load(run)
    workers.call(reporting.write, loaded.folder, what="report")
    typer.echo(loaded.folder / reporting.NAME)


@app.command(rich_help_panel=LOOK)
def doctor() -> None:
    """Show versions, devices, and which targets are ready here or what to install for them."""
    from pipelines.tools import doctor

    for line in doctor.lines():
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def gc(runs: RunsFolder = Path("runs"),
       dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be deleted")] = False) -> None:
    """Delete what no run refers to: artifacts, interrupted work, the trash. Delete a run's folder first to free what
    only it needs."""
    from pipelines.tools import gc

    for line in gc.collect(runs, dry_run):
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def track(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Send a run to MLflow, or what is missing of it: for runs whose tracking failed or was left out."""
    from pipelines.engine import runs
    from pipelines.reporting import tracking

    loaded = runs.load(run)
    server = tracking.uri(loaded.folder.parent.parent)
    try:
        parent = tracking.upload(loaded.folder)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"tracking: {server} does not take the run: {' '.join(str(error).split())[:200]}") from error
    typer.echo(f"tracked as {parent} in {server}")
