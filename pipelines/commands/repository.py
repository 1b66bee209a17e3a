"""`litepress models`: the builders there are, and the versions of trained models in a repository that TF Serving serves."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pipelines.commands.options import RunsFolder, app
from pipelines.errors import UserError

group = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)
app.add_typer(group, name="models")

RepositoryFolder = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="the model repository's folder")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="the model's name")]


@group.callback()
def models(context: typer.Context) -> None:
    """Show every model at its paper's setting: weights, multiply-adds, size; or, with a command, versions in a model repository."""
    from pipelines.engine import workers
    from pipelines.tools import listing

    if context.invoked_subcommand is None:
        for line in workers.call(listing.model_table, what="models"):
            typer.echo(line)


@group.command("list")
def list_(repository: RepositoryFolder) -> None:
    """List a repository's models, their versions and labels."""
    from pipelines.tools import deploy

    for line in _done(deploy.listed, repository):
        typer.echo(line)


@group.command()
def promote(run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder, or a bundle's")], repository: RepositoryFolder,
            name: Annotated[Optional[str], typer.Option(help="of the model; the recipe's where not given")] = None) -> None:
    """Make a run's SavedModel the next version of its model: copied beside, then renamed, so that it is whole or not there."""
    from pipelines.tools import deploy

    model, number = _done(deploy.promote, run, repository, name)
    typer.echo(f"{model} version {number} in {repository}")


@group.command()
def rollback(repository: RepositoryFolder, model: ModelName,
             to: Annotated[Optional[int], typer.Option(help="this version; the one before the newest where not given")] = None) -> None:
    """Withdraw a model's newest versions."""
    from pipelines.tools import deploy

    kept, gone = _done(deploy.on_repository, repository, "rollback", model, to)
    typer.echo(f"{model} is at version {kept}" + (f"; withdrawn: {', '.join(map(str, gone))}; litepress models restore puts one back"
                                                  if gone else "; nothing to withdraw"))


@group.command()
def restore(repository: RepositoryFolder, model: ModelName, version: Annotated[int, typer.Argument(metavar="VERSION")]) -> None:
    """Put a withdrawn version back."""
    from pipelines.tools import deploy

    _done(deploy.on_repository, repository, "restore", model, version)
    typer.echo(f"{model} has version {version} again")


@group.command()
def label(repository: RepositoryFolder, model: ModelName,
          setting: Annotated[str, typer.Argument(metavar="LABEL=VERSION", help="stable=3, for instance; stable= takes it away")]) -> None:
    """Put a label on a version: clients ask for stable or canary, and every labelled version is served."""
    from pipelines.tools import deploy

    name, given, number = setting.partition("=")
    if not given or not name or (number and not number.isdigit()):
        raise UserError(f"models label: {setting} is no LABEL=VERSION, for instance stable=3")
    _done(deploy.on_repository, repository, "label", model, name, int(number) if number else None)
    typer.echo(f"{model}: {name} is {f'version {number}' if number else 'no label any more'}")


@group.command()
def from_registry(wanted: Annotated[str, typer.Argument(metavar="NAME[@ALIAS]", help="of MLflow's registry; the alias is champion where "
                                                                                     "none is given")],
                  repository: RepositoryFolder, runs: RunsFolder = Path("runs")) -> None:
    """Promote the version that an alias of MLflow's model registry points to."""
    from pipelines.tools import deploy

    model, number = _done(deploy.from_registry, wanted, repository, runs)
    typer.echo(f"{model} version {number} in {repository}")


def _done(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives that needs TensorFlow."""
    from pipelines.engine import workers

    return workers.call(function, *arguments, what="models")
