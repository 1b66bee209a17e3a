"""`litepress run` and `litepress press`, from the command line and from Python: a recipe to its end."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.engine.display import Display
from pipelines.errors import StageError, UserError
from pipelines.recipe.file import in_words
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.results import Results
from pipelines.runner import Options, Runner
from pipelines.tools import press, press_program
from pipelines.tools.press import PressSettings
from pipelines.training import distribution


def runner_of(recipe: Recipe, path: str, options: Options, display: Display, command: Sequence[str]) -> Runner:
    """Return what runs a recipe, and show which it is. Of several machines that train together, all but the first do
    nothing else, in folders of their own.

    Args:
        path: of the recipe, for the record.
        command: the command line, for the record.
    """
    display.line(f"{recipe.name} · {recipe.model.builder} on {recipe.data.source.entry_name} · seed {recipe.seed}")
    worker = distribution.role() if recipe.train.strategy in ("auto", "multi_worker") else distribution.Role()
    if not worker.is_chief:
        display.line(f"  worker {worker.index} of {worker.count}: trains with the others; worker 0 does the rest")
        options = Options(options.runs / f"worker-{worker.index}", options.start, "train", track=False)
    return Runner(recipe, path, options, display, command)


def check_one_model(model: object, torch: str | None, jax: str | None) -> None:
    """Raise UserError unless one model is given: itself, or the function that makes it."""
    if sum(one is not None for one in (model, torch, jax)) != 1:
        raise UserError("press: give one model: a file or folder, or --torch or --jax with the function that makes it")


def pressing(settings: PressSettings, options: Options, display: Display, command: Sequence[str],
             gates: Mapping[str, str] | None = None) -> Runner:
    """Return what presses a model that was made elsewhere, and show which it is. Raises UserError.

    Args:
        gates: thresholds, as a recipe has them.
        command: the command line, for the record.
    """
    title = settings.torch or settings.jax or str(settings.model)
    settings = press_program.settled(settings)
    recipe = press.recipe_for(settings)
    if gates:
        recipe = _with_gates(recipe, gates, Path(title))
    display.line(f"{recipe.name} · {title} on {settings.data}")
    if recipe.data.labels == "model":
        display.line(f"  {settings.data} has no labels: accuracy is the share of images on which a file answers as "
                     f"{Path(title).name} does")
    return Runner(recipe, title, options, display, command)


def finish(runner: Runner, hint: str = "") -> Results:
    """Run a recipe to its end and return what it measured, which is in `runner.results` also where this raises.

    Args:
        hint: how to try variants again that failed.

    Raises:
        UserError: a problem that the user can fix; targets were left out for one.
        StageError: a stage ended unexpectedly; variants or targets could not be made, and the others were.
        GateError: a gate was missed.
    """
    results = runner()
    if results.failed:
        folder = runner.options.runs / runner.recipe.name / "latest"
        messages = "\n".join((results.failed | results.left_out).values())
        raise StageError(f"{messages}\nThe others went on. See log.txt in {folder / 'compress'} and "
                         f"{folder / 'export'}{hint}.")
    if results.left_out:
        raise UserError("\n".join(results.left_out.values()))
    return results


def deliver(out: Path, display: Display, results: Results) -> None:
    """Put a run's bundle into a folder of the user's, and say what is not in it; say so too where there is none."""
    missing = ", ".join(results.failed | results.left_out)
    if results.bundle is None:
        display.line(f"  bundle  nothing is put into {out}: the run has none")
        return
    press.bundle_to(out, results)
    display.line(f"  bundle  {out}" + (f"; not in it: {missing}" if missing else ""))


def _with_gates(recipe: Recipe, gates: Mapping[str, str], model: Path) -> Recipe:
    document = {**recipe.written(), "gates": dict(gates)}
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        messages = [in_words(f"press {model}", document, dict(one)) for one in error.errors()]
        raise UserError("\n".join(dict.fromkeys(messages))) from None
