"""What a recipe takes over from a model that was trained before, weights and vocabulary, and the model that judges what
it makes: found before its stages run, so that they depend on what is there."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.engine import runs
from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.features.tokenizers import pretrained as vocabularies
from pipelines.features.tokenizers.tokenizer import Tokenizer
from pipelines.recipe.recipe import Recipe
from pipelines.stages.context import INDEX
from pipelines.tasks.judge import INCEPTION
from pipelines.training.imported_model import trained
from pipelines.training.pretrained_weights import KERAS

PRETRAINED, AUTOENCODER, TOKENS = "pretrained", "autoencoder", "tokens"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that was trained.

    Args:
        recipe: its own.
        ingest, train: the folders of the artifacts of these stages.
    """

    recipe: Recipe
    ingest: Path
    train: Path


def settled(recipe: Recipe, train: Callable[[Path], Trained]) -> Recipe:
    """Return a recipe with the files of what it takes over; one that takes over nothing as it is.

    Args:
        train: gives a recipe's model, trained first where it has not been.

    Raises:
        UserError: it is not there, or weights are taken without the vocabulary that they were trained with.
    """
    written = recipe.written()
    chosen = written["model"].get("weights") or {}
    weights, latents = chosen.get(PRETRAINED), chosen.get(AUTOENCODER)
    texts = [settings for settings in written["data"].values() if isinstance(settings, dict)
             and isinstance(settings.get("tokenizer"), dict) and PRETRAINED in settings["tokenizer"]]
    judged = {f"task.{task}.judge": settings for task, settings in written["task"].items() if settings.get("judge")}
    if weights is None and latents is None and not texts and not judged:
        return recipe
    found: dict[str, Trained] = {}

    def of(name: str, where: str) -> Trained:
        if name not in found:
            found[name] = train(Path(name)) if name.endswith((".yaml", ".yml")) else _of_run(Path(name), where)
        return found[name]

    for where, settings in judged.items():
        settings["judge"] = _judge(settings["judge"], where, of)
    for settings in texts:
        settings["tokenizer"] = {PRETRAINED: _tokenizer(settings["tokenizer"][PRETRAINED]["of"], of)}
    if weights is not None and not weights["of"].endswith(KERAS):
        one = of(weights["of"], "model.weights")
        weights["file"] = str(trained(one.train))
        _check_vocabulary(weights["of"], one, texts)
    if latents is not None and not latents["of"].endswith(KERAS):
        latents["file"] = str(trained(of(latents["of"], "model.weights").train))
    return Recipe.model_validate(written)


def _judge(settings: dict[str, Any], where: str, of: Callable[[str, str], Trained]) -> dict[str, Any]:
    """Return the settings of a judge whose file is there; Inception's may be downloaded later. Raises UserError."""
    name = settings["of"]
    if name == INCEPTION:
        if settings.get("file") is None:
            return {"of": name}
        return {**settings, "digest": _digest(Path(settings["file"]), where)}
    path = Path(name) if name.endswith(KERAS) else trained(of(name, where).train)
    return {"of": name, "file": str(path), "digest": _digest(path, where)}


def _digest(path: Path, where: str) -> str:
    if not path.is_file():
        raise UserError(f"{where}: there is no file {path}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tokenizer(name: str, of: Callable[[str, str], Trained]) -> dict[str, Any]:
    """Return the settings of a tokenizer with a vocabulary that is there. Raises UserError."""
    path = Path(name)
    if path.suffix == ".json":
        cut = _described(path)
        return {"of": name, "cut": cut, "vocabulary": name, "digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    one = of(name, "data.tokens.tokenizer")
    settings = one.recipe.data.model_extra or {}
    if "tokenizer" not in settings.get(TOKENS, {}):
        raise UserError(f"data.tokens.tokenizer: {name} has no tokens; it is a recipe of {one.recipe.task.entry_name}")
    cut = settings[TOKENS]["tokenizer"]
    cut = cut.written() if isinstance(cut, Entry) else cut
    return {"of": name, "cut": cut.get(PRETRAINED, {}).get("cut", cut), "vocabulary": str(one.ingest / INDEX)}


def _described(path: Path) -> dict[str, Any]:
    """Return how text is cut by a bundle's tokenizer.json, as a recipe writes it. Raises UserError."""
    vocabularies.read(path)
    content = json.loads(path.read_bytes())
    kind = Tokenizer.choices.get(content.get("kind"))
    if kind is None:
        raise UserError(f"data.tokens.tokenizer: {path} does not say how text is cut; give a bundle's tokenizer.json")
    takes_case = "lower" in kind.model_fields and not kind.model_fields["lower"].exclude
    return {content["kind"]: {"lower": content["lower"]} if takes_case and "lower" in content else {}}


def _of_run(folder: Path, where: str) -> Trained:
    """Return the model of a run. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{where}: there is no {folder}; give a recipe, which is trained first, or the folder of a "
                        "run, such as runs/bert_pretrain/latest")
    run = runs.load(folder)
    done = {name: stage.artifact for name, stage in run.record.stages.items() if stage.state == "done"}
    if "train" not in done:
        raise UserError(f"{where}: {folder} has no trained model; litepress run {run.record.recipe_path} goes on with "
                        "it")
    store = Path(os.path.normpath(folder / ".." / ".." / runs.STORE))
    return Trained(Recipe.model_validate(run.record.recipe), store / done["ingest"], store / done["train"])


def _check_vocabulary(name: str, one: Trained, texts: list[dict[str, Any]]) -> None:
    """Raise UserError where texts are cut into other tokens than those that weights were trained with."""
    own = vocabularies.read(one.ingest / INDEX)
    for settings in texts:
        if vocabularies.read(Path(settings["tokenizer"][PRETRAINED]["vocabulary"])) == own:
            return
    raise UserError(f"model.weights: {name} was trained with a vocabulary of its own, which the texts must be cut by: "
                    f"set data.tokens.tokenizer to {{pretrained: {name}}}")
