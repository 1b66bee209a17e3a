"""`litepress sample` of a pressed Stable Diffusion: pictures of a text, of a picture, and of a part of one."""
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.errors import first_line
from export.predictors import Predictor, open_predictor
from export.signature import DEFAULT, Arrays
from export.writing import flow, noise
from models.stable_diffusion import (
    CONTEXT,
    DECODE,
    DENOISE,
    DENOISED,
    ENCODE,
    ENCODE_TEXT,
    GENERATED,
    IMAGE,
    LATENTS,
    POOLED,
    STEP,
)
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.features.picture import Picture
from pipelines.tasks.image_generation.measure import levels
from pipelines.tasks.image_generation.revising import MASK, ORIGINAL, STRENGTH, WHITE
from pipelines.tools import originals, picture_files
from pipelines.tools.text_to_image import about as known
from pipelines.tools.text_to_image.about import About

with epy.lazy_imports():
    import numpy as np

    from export.writing import diffusion

if TYPE_CHECKING:
    from pipelines.tools.sample import Wish


def sample(artifact: Path, wish: Wish, out: Path) -> str:
    """Write pictures, and all of them in one file, each with a note of what made it; return a line about them.

    Args:
        artifact: a pressed model's folder, or one in it: the files of a variant, or the SavedModel.
        out: the folder for the files.

    Raises:
        UserError: a setting is out of its bounds, or a file is not there.
    """
    folder = known.folder_of(artifact)
    assert folder is not None
    about = known.read(folder)
    check(wish, about)
    files = _files(artifact, folder)
    original, remark = originals.read(wish.original, Picture(size=about.image[:2], channels=3), 1)
    tokens = about.tokens([wish.text or "", wish.negative or ""], folder)
    pictures = workers.call(made, files, about, wish, tokens, original, what="sample")
    settings = {"text": wish.text, "negative": wish.negative, "steps": _steps(wish, about),
                "guidance": _guidance(wish, about)}
    note: dict[str, object] = {"model": f"{about.preset}, {files.name}", "seed": wish.seed}
    note |= {name: value for name, value in settings.items() if value is not None} | wish.original.about()
    picture_files.write(out, pictures, note)
    return f"{len(pictures):,} pictures of seed {wish.seed} by {files}, in {out}{remark}"


def check(wish: Wish, about: About) -> None:
    """Raise UserError where a setting is out of its bounds, or is of other models."""
    if wish.text is None or not wish.text.strip():
        raise UserError("sample: the model makes pictures of a text: give --text, for instance --text 'a red bicycle'")
    if wish.name is not None:
        raise UserError("sample: --class: the model makes pictures of texts; give --text")
    if wish.steps is not None and not 1 <= wish.steps <= about.known:
        raise UserError(f"sample: --steps is {wish.steps}; give 1 to {about.known:,}, which the model knows")
    if wish.guidance is not None and not 0 <= wish.guidance < math.inf:
        raise UserError(f"sample: --guidance is {wish.guidance:g}; give 0 or more")


def made(files: Path, about: About, wish: Wish, tokens: Arrays, original: Arrays) -> np.ndarray:
    """Return pictures, uint8 (count, height, width, channels).

    Args:
        files: the folder of TFLite files, or the SavedModel's.
        tokens: of the text and of the negative one.
        original: see `originals.read`, of one picture.
    """
    parts = _Parts(files)
    meanings = parts.ask(ENCODE_TEXT, tokens)
    drawn = noise.normal((wish.seed, 0), [wish.count, *about.latent])
    begin = None
    if original:
        latents = parts.ask(ENCODE, {IMAGE: original[ORIGINAL].astype(np.float32)})[LATENTS]
        mask = (about.coarse(original[MASK]) >= WHITE).astype(np.float32) if MASK in original else None
        begin = diffusion.Original(latents, float(original[STRENGTH][0]), mask)
    guidance = _guidance(wish, about)

    def said(x: np.ndarray, step: float, place: int) -> np.ndarray:
        meaning = {name: np.repeat(meanings[name][place:place + 1], len(x), axis=0) for name in (CONTEXT, POOLED)}
        return parts.ask(DENOISE, {LATENTS: x, STEP: np.full(len(x), step, np.float32), **meaning})[DENOISED]

    def denoise(x: np.ndarray, step: float) -> np.ndarray:
        answer = said(x, step, 0)
        return answer if guidance == 1 else diffusion.guided(answer, said(x, step, 1), guidance)

    table = flow.plan(about.known, about.shift, _steps(wish, about))
    latents = diffusion.sampled(denoise, drawn, table, "flow", most=math.inf, original=begin)
    pictures = levels(parts.ask(DECODE, {LATENTS: latents})[GENERATED])
    return np.where(original[MASK] >= WHITE, pictures, original[ORIGINAL]) if MASK in original else pictures


class _Parts:
    """The parts of a model, of which one file at a time is open.

    Args:
        files: see `made`.
    """

    def __init__(self, files: Path):
        self.files = files
        self._open = ""
        self._predictor: Predictor | None = None

    def ask(self, part: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what a part says. Raises UserError where its file cannot be opened, or takes something else."""
        path, signature = self.files / f"{part}.tflite", DEFAULT
        if not any(self.files.glob("*.tflite")):
            path, signature = self.files, part
        try:
            if self._predictor is None or self._open != path.name:
                if path == self.files:
                    import tensorflow_text  # noqa: F401  makes the operators known that cut texts
                self._predictor = None  # before the next one takes its memory
                self._predictor, self._open = open_predictor(path), path.name
            return self._predictor.predict(inputs, signature)
        except (ValueError, ImportError) as error:
            raise UserError(f"sample: {path}: {first_line(error)}") from error


def _files(artifact: Path, folder: Path) -> Path:
    """Return the folder of a model's files: that which is asked for, or else the most exact. Raises UserError."""
    if artifact.is_file():
        artifact = artifact.parent
    if not artifact.exists():
        raise UserError(f"sample: {artifact}: there is no such folder; give {folder}, or the files of a variant in it")
    if artifact.absolute() != folder.absolute():
        return artifact
    variants = sorted((folder / known.LITERT).glob("*"), key=lambda path: path.name != "float32")
    files = next((path for path in (*variants, folder / known.SAVED_MODEL) if path.is_dir()), None)
    if files is None:
        raise UserError(f"sample: {folder} has no files of the model; press the preset again")
    return files


def _steps(wish: Wish, about: About) -> int:
    return about.steps if wish.steps is None else wish.steps


def _guidance(wish: Wish, about: About) -> float:
    return about.guidance if wish.guidance is None else wish.guidance
