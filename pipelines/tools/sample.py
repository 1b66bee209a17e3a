"""`litepress sample`: pictures out of noise, the same for the same seed."""
from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from export.errors import first_line
from export.predictors import choose, open_predictor
from export.signature import Arrays
from export.writing import noise
from pipelines.engine import runs, workers
from pipelines.entries import nearest
from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.features.tokenizers.tokenizer import own_tokens
from pipelines.reporting import results
from pipelines.tasks.image_generation.making import IMAGE, NOISE
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED, TOKENS, levels
from pipelines.tasks.image_generation.serving import MOST
from pipelines.tasks.image_generation.task import ImageGeneration
from pipelines.tools import originals, picture_files
from pipelines.tools.originals import OriginalWish
from pipelines.tools.predict import Asked, find_model
from pipelines.tools.text_to_image import about as text_to_image
from pipelines.tools.text_to_image import sample as text_to_image_sample

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Words that a message names, at most.
SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        seed: of the noise.
        count: pictures.
        name: of the class; the classes in turn where not given.
        text: that a model by text is asked for; nothing in particular where not given.
        steps, guidance: of a diffusion; the recipe's where not given.
        negative: what pictures of a text do not show.
        original: what a diffusion makes pictures of, beside noise.
    """

    seed: int = 0
    count: int = 16
    name: str | None = None
    text: str | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    original: OriginalWish = dataclasses.field(default_factory=OriginalWish)


def sample(artifact: Path, wish: Wish, folder: Path) -> str:
    """Write pictures, and all of them in one file, each with a note of what made it; return a line about them.

    Args:
        artifact: a run's folder, or a file in it.
        folder: for the files; it is made where it is not there.

    Raises:
        UserError: a setting is out of its bounds, there is no such class, it makes no pictures, or they cannot be
            written.
    """
    check(wish)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"sample: --out: {folder} is not a folder; give another one")
    if text_to_image.folder_of(artifact) is not None:
        return text_to_image_sample.sample(artifact, wish, folder)
    if wish.negative is not None:
        raise UserError("sample: --negative is for models that were pressed of a text-to-image preset; leave it out")
    asked = _found(artifact)
    assert isinstance(asked.task, ImageGeneration)
    asked = dataclasses.replace(asked, task=asked.task.sampled_by(wish.steps, wish.guidance))
    classes = _classes(asked, wish)
    check_text(asked, wish)
    given, remark = _original(asked, wish)
    if asked.path.suffix == ".tflite" and wish.text is None:
        with workers.quiet():
            pictures = made(asked, wish, classes, given)
    else:
        pictures = workers.call(made, asked, wish, classes, given, what="sample")
    about: dict[str, object] = {"model": _named(asked.path), "seed": wish.seed, "recipe": _recipe_digest(artifact)}
    settings = {"text": wish.text, "steps": wish.steps, "guidance": wish.guidance}
    about |= {name: value for name, value in settings.items() if value is not None}
    about |= wish.original.about()
    names = asked.task.labels(asked.index)
    picture_files.write(folder, pictures, about, [{"class": names[label]} for label in classes])
    return f"{len(pictures):,} pictures of seed {wish.seed} by {asked.path}, in {folder}{remark}"


def check(wish: Wish) -> None:
    """Raise UserError where a setting is out of its bounds."""
    if not 0 <= wish.seed <= noise.MOST_SEED:
        raise UserError(f"sample: --seed is {wish.seed}; give 0 to {noise.MOST_SEED}")
    if not 1 <= wish.count <= MOST:
        raise UserError(f"sample: --count is {wish.count}; give 1 to {MOST:,}")
    wish.original.check()


def made(asked: Asked, wish: Wish, classes: Sequence[int], original: Arrays | None = None) -> np.ndarray:
    """Return pictures, uint8 (count, height, width, channels).

    Args:
        original: see `originals.read`; None where nothing is begun with.
    """
    index = asked.index
    try:
        predictor = open_predictor(asked.path)
    except (ValueError, ImportError) as error:
        raise UserError(f"sample: {first_line(error)}") from error
    shape = [size or 1 for size in index.inputs[NOISE].shape]
    inputs = {NOISE: noise.normal((wish.seed, 0), [wish.count, *shape]), **(original or {})}
    if classes:
        inputs[CONDITION] = np.eye(len(index.names("label")), dtype=np.float32)[list(classes)]
    if wish.text is not None:
        inputs[TOKENS] = np.repeat(_tokens(asked, wish.text)[None], wish.count, axis=0)
    # no text asks for nothing; the trained model takes images too, and a diffusion a step
    for one in choose(predictor.signatures).inputs:
        inputs.setdefault(one.name, np.zeros((wish.count, *(size or 1 for size in one.shape)), one.dtype))
    try:
        return levels(asked.task.answer(predictor, inputs)[GENERATED])
    except (ValueError, KeyError) as error:
        raise UserError(f"sample: {asked.path} does not make pictures of noise: {first_line(error)}") from error


def check_text(asked: Asked, wish: Wish) -> None:
    """Raise UserError where a text is empty, or the model takes none."""
    if wish.text is None:
        return
    if TOKENS not in asked.index.inputs:
        raise UserError(f"sample: {asked.path} makes pictures of no text; leave --text out")
    if not wish.text.strip():
        raise UserError("sample: --text is empty; say what the pictures show, or leave it out")


def _tokens(asked: Asked, text: str) -> np.ndarray:
    """Return the tokens of a text, int32 (length,). Raises UserError where the model knows no word of it."""
    learnt = asked.index.learnt[TOKENS]
    tokens = asked.features[TOKENS].decode(tf.constant(text.encode()), learnt).numpy()
    first = own_tokens(learnt.names)
    if not (tokens >= first).any():
        raise UserError(f"sample: --text: the model has learnt no word of {text!r}; it knows "
                        f"{', '.join(learnt.names[first:first + SHOWN])}{' …' if learnt.names[first + SHOWN:] else ''}")
    return tokens  # type: ignore[no-any-return]


def _classes(asked: Asked, wish: Wish) -> list[int]:
    """Return the class of each picture; none where none can be asked for. Raises UserError."""
    assert isinstance(asked.task, ImageGeneration)
    names = asked.task.labels(asked.index)
    if not names:
        if wish.name is not None:
            other = "give --text" if TOKENS in asked.index.inputs else "leave --class out"
            raise UserError(f"sample: {asked.path} makes pictures of no class that could be asked for; {other}")
        return []
    if wish.name is None:
        return [number % len(names) for number in range(wish.count)]
    if wish.name in names:
        return [names.index(wish.name)] * wish.count
    near = nearest(wish.name, names)
    hint = f"did you mean {near}?" if near else f"give one of {', '.join(names)}"
    raise UserError(f"sample: --class: there is no class {wish.name}; {hint}")


def _original(asked: Asked, wish: Wish) -> tuple[Arrays, str]:
    """Return what pictures are made of beside noise, see `originals.read`. Raises UserError."""
    assert isinstance(asked.task, ImageGeneration)
    if wish.original.image is not None and not asked.task.revises:
        raise UserError(f"sample: --image: {asked.path} makes pictures without steps, and none of others; leave it out")
    feature = asked.features[IMAGE]
    assert isinstance(feature, Image)
    return originals.read(wish.original, feature, wish.count)


def _found(artifact: Path) -> Asked:
    """Return the model that a path stands for: of a run its float32 TFLite file, where it has one. Raises UserError."""
    asked = find_model(artifact)
    if asked.is_guessed or not isinstance(asked.task, ImageGeneration):
        what = "it is not known what it makes" if asked.is_guessed else f"it is of {asked.task.entry_name}"
        raise UserError(f"sample: {artifact}: {what}; give the folder of a run of image_generation, or a file in it")
    if (artifact / runs.RECORD).exists():
        exact = next((one for one in results.collect(runs.load(artifact)).artifacts
                      if one.target == "litert" and one.variant == "float32"), None)
        if exact is not None:
            return dataclasses.replace(asked, path=Path(exact.path))
    return asked


def _recipe_digest(artifact: Path) -> str:
    """Return the digest of the recipe of the run that a path lies in."""
    folder = next(path for path in (artifact, *artifact.absolute().parents) if (path / runs.RECORD).exists())
    written = runs.load(folder).record.recipe
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def _named(path: Path) -> str:
    """Return what a model is called in a note: its name and the digest of its file."""
    if path.is_dir():
        return path.name
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
