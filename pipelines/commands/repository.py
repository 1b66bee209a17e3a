"""`litepress models`: the builders there are, and the versions of trained models in TF Serving's repository."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pipelines.commands.options import LOOK, RunsFolder, app
from pipelines.errors import UserError

group = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)
app.add_typer(group, name="models", rich_help_panel=LOOK)

RepositoryFolder = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="the model repository's folder")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="the model's name")]


@group.callback()
def models(context: typer.Context) -> None:
    """Show every model at its paper's setting: weights, multiply-adds, size. With a command: manage a repository."""
    from pipelines.engine import workers
    from pipelines.tools import listing

    if context.invoked_subcommand is None:
        for line in workers.call(listing.model_table, what="models"):
            typer.echo(line)


@group.command("list")
def list_(repository: RepositoryFolder) -> None:
    """List a repository's models, their versions and labels."""
    from pipelines.tools import deploy

    for line in _in_worker(deploy.listed, repository):
        typer.echo(line)


@group.command()
def promote(
        run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder, or a bundle's")],
        repository: RepositoryFolder,
        name: Annotated[Optional[str], typer.Option(help="of the model; the recipe's unless given")] = None) -> None:
    """Make a run's SavedModel the next version of its model. The version appears all at once."""
    from pipelines.tools import deploy

    model, number = _in_worker(deploy.promote, run, repository, name)
    typer.echo(f"{model} version {number} in {repository}")


@group.command()
def rollback(
        repository: RepositoryFolder, model: ModelName,
        to: Annotated[Optional[int], typer.Option(
            help="this version; the one before the newest unless given")] = None) -> None:
    """Withdraw a model's newest versions."""
    from pipelines.tools import deploy

    kept, withdrawn = _in_worker(deploy.on_repository, repository, "rollback", model, to)
    outcome = f"withdrawn: {', '.join(map(str, withdrawn))}; litepress models restore puts one back"
    typer.echo(f"{model} is at version {kept}; {outcome if withdrawn else 'nothing to withdraw'}")


@group.command()
def restore(repository: RepositoryFolder, model: ModelName,
            version: Annotated[int, typer.Argument(metavar="VERSION")]) -> None:
    """Put a withdrawn version back."""
    from pipelines.tools import deploy

    _in_worker(deploy.on_repository, repository, "restore", model, version)
    typer.echo(f"{model} has version {version} again")


@group.command()
def label(
        repository: RepositoryFolder, model: ModelName,
        setting: Annotated[str, typer.Argument(
            metavar="LABEL=VERSION", help="stable=3, for instance; stable= removes the label")]) -> None:
    """Label a version, for clients to ask for: stable, canary. Every labelled version is served."""
    from pipelines.tools import deploy

    name, equals, number = setting.partition("=")
    if not equals or not name or (number and not number.isdigit()):
        raise UserError(f"models label: {setting} is not a LABEL=VERSION, for instance stable=3")
    _in_worker(deploy.on_repository, repository, "label", model, name, int(number) if number else None)
    typer.echo(f"{model}: {name} is {f'version {number}' if number else 'no label any more'}")


@group.command()
def from_registry(
        registered: Annotated[str, typer.Argument(
            metavar="NAME[@ALIAS]", help="in MLflow's registry; the alias is champion unless one is given")],
        repository: RepositoryFolder, runs: RunsFolder = Path("runs")) -> None:
    """Promote the version that an alias of MLflow's model registry points to."""
    from pipelines.tools import deploy

    model, number = _in_worker(deploy.from_registry, registered, repository, runs)
    typer.echo(f"{model} version {number} in {repository}")


def _in_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns that needs TensorFlow."""
    from pipelines.engine import workers

    return workers.call(function, *arguments, what="models")
