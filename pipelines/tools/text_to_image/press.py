"""`litepress press` of a text-to-image preset: a file of each part for devices, a SavedModel, and how far each is from
KerasHub's model."""
from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy
from pydantic import BaseModel

import models.stable_diffusion as presets
from export.conversion import convert as converting
from export.errors import first_line
from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import Arrays, Signature
from models.stable_diffusion import CONTEXT, DECODE, DENOISE, ENCODE, ENCODE_TEXT, IMAGE, LATENTS, PARTS, POOLED, STEP
from pipelines.engine import workers
from pipelines.engine.store import whole
from pipelines.errors import UserError
from pipelines.tools.text_to_image import about as known
from pipelines.tools.text_to_image import serving
from pipelines.tools.text_to_image.about import About

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from models.stable_diffusion import StableDiffusion

#: What can be made, and is where nothing else is asked for: bytes of a weight, by encoding.
VARIANTS = {"float32": 4, "float16": 2, "dynamic": 1}
TARGETS = ("litert", "saved_model")
#: How far a float32 file may be from KerasHub's model, as a share of the largest number.
EQUAL = 1e-4
#: What a TFLite file can hold.
MOST = 2**31
#: The file with the figures of all files.
FIGURES = "parts.json"
#: What is kept of a part while its files are made: how many weights it has.
WEIGHTS = "weights.txt"


@dataclasses.dataclass(frozen=True)
class TextToImageSettings:
    """What to press, and how.

    Args:
        preset: a name, or a folder.
        out: the folder that is made; it has the preset's name where not given.
        size: a side of pictures, in pixels; the preset's shape where not given.
        variants, targets: with commas between; all where not given.
        figures: a file for the figures of all files, JSON.
    """

    preset: str
    out: Path | None = None
    size: int | None = None
    variants: str | None = None
    targets: str | None = None
    figures: Path | None = None


class PartFigures(BaseModel):
    """A file of a part.

    Args:
        error: how far what it says is from what KerasHub's model says, as a share of the largest number; None of a
            file that could not be made.
        reason: why it could not be.
    """

    part: str
    variant: str
    bytes: int = 0
    error: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.error is None:
            return f"  {self.part:<12} {self.variant:<9} not made: {self.reason}"
        return f"  {self.part:<12} {self.variant:<9} {self.bytes / 2**20:>9,.2f} MiB   off by {self.error:.1e}"


def press(settings: TextToImageSettings, others: Mapping[str, object] | None = None) -> Iterator[str]:
    """Press a preset, and yield lines about what was made.

    Args:
        others: options that other models have, and what they say.

    Raises:
        UserError: a setting is not known, the folder is there already, the preset cannot be had, or a float32 file says
            something else than KerasHub's model.
    """
    variants = _listed(settings.variants, "--variants", VARIANTS)
    targets = _listed(settings.targets, "--targets", TARGETS)
    if unfit := next((name for name, value in (others or {}).items() if value is not None), None):
        raise UserError(f"press: {unfit}: {settings.preset} makes pictures of texts, and is held against KerasHub's "
                        "model without it; leave it out")
    folder = settings.out or Path(Path(settings.preset).name)
    if folder.exists():
        raise UserError(f"press: --out: {folder} is there already; give the name of a new folder")
    if not folder.absolute().parent.is_dir():
        raise UserError(f"press: --out: there is no folder {folder.parent}")
    yield f"{settings.preset} · text to image"
    with tempfile.TemporaryDirectory() as scratch, whole(folder) as out:
        out.mkdir()
        work = Path(scratch)
        line = workers.call(_prepare, settings, targets, work, out, what="press: reading the preset")
        yield line
        figures = []
        for part in PARTS if "litert" in targets else ():
            for variant in variants:
                path = out / known.LITERT / variant / f"{part}.tflite"
                path.parent.mkdir(parents=True, exist_ok=True)
                figures.append(workers.call(_converted, part, variant, work / part, path, what=f"press: {part}"))
                yield str(figures[-1])
        written = json.dumps([one.model_dump() for one in figures], indent=1) + "\n"
        (out / FIGURES).write_text(written)
        _check(figures)
        if settings.figures is not None:
            settings.figures.write_text(written)
    yield f"made {folder}; litepress sample {folder} --text TEXT makes pictures"


def _prepare(settings: TextToImageSettings, targets: Sequence[str], work: Path, out: Path) -> str:
    """Write what files are made of and compared with, the tokenizer, what is known of the model, and the SavedModel;
    return a line about it. Raises UserError."""
    try:
        model = presets.load(settings.preset, None if settings.size is None else (settings.size, settings.size))
    except ValueError as error:
        raise UserError(f"press: {error}") from error
    backbone = model.backbone
    about = About(preset=Path(settings.preset).name, image=tuple(backbone.image_shape),
                  latent=tuple(backbone.latent_shape[1:]), known=backbone.num_train_timesteps, shift=backbone.shift,
                  words={presets.tokens_of(name): one for name, one in model.words().items()})
    (out / known.ABOUT).write_text(about.model_dump_json(indent=1) + "\n")
    (out / known.TOKENIZER).write_text(model.tokenizer())
    if "litert" in targets:
        _write_graphs(model, about, out, work)
    if "saved_model" in targets:
        serving.write(model, about, out / known.SAVED_MODEL)
    counts = ", ".join(f"{name} {part.count_params():,}" for name, part in model.parts.items())
    height, width, _ = about.image
    return f"  pictures of {height} x {width} pixels; parameters: {counts}"


def _write_graphs(model: StableDiffusion, about: About, out: Path, work: Path) -> None:
    """Write the graph of each part, and what KerasHub's model says of inputs, into a folder of its own."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    texts = ["a photograph of an astronaut who rides a horse", ""]
    inputs: dict[str, Arrays] = {ENCODE_TEXT: about.tokens(texts, out)}
    meanings = {name: np.asarray(value) for name, value in model.parts[ENCODE_TEXT](inputs[ENCODE_TEXT]).items()}
    inputs[DENOISE] = {LATENTS: normal(2, *about.latent), STEP: np.array([700, 20], np.float32),
                       CONTEXT: meanings[CONTEXT], POOLED: meanings[POOLED]}
    inputs[DECODE] = {LATENTS: normal(2, *about.latent)}
    inputs[ENCODE] = {IMAGE: generator.integers(0, 256, (2, *about.image)).astype(np.float32)}
    for name in PARTS:
        part = model.parts[name]
        folder = work / name
        folder.mkdir()
        outputs = {one: np.asarray(value) for one, value in part.predict(dict(inputs[name]), verbose=0).items()}
        np.savez(folder / "inputs.npz", allow_pickle=False, **inputs[name])
        np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)
        (folder / WEIGHTS).write_text(str(part.count_params()))
        converting.float_graph(part, _with(graph.signature_of(part).renamed(name)), folder / "graph")


def _with(signature: Signature) -> converting.Functions:
    return lambda model: [graph.function(model, signature)]


def _converted(part: str, variant: str, work: Path, path: Path) -> PartFigures:
    """Write the file of a part, and return how far it is from KerasHub's model."""
    size = int((work / WEIGHTS).read_text()) * VARIANTS[variant]
    if size > MOST:
        return PartFigures(part=part, variant=variant, reason=f"its weights are {size / 2**30:.1f} GiB, and a TFLite "
                           "file holds 2; the SavedModel has it")
    try:
        path.write_bytes(converting.convert(work / "graph", variant))
    except ValueError as error:
        return PartFigures(part=part, variant=variant, reason=first_line(error))
    with np.load(work / "inputs.npz") as inputs, np.load(work / "outputs.npz") as outputs:
        answers = open_predictor(path).predict(dict(inputs), part)
        errors = [np.abs(answers[name] - outputs[name]).max() / np.abs(outputs[name]).max() for name in outputs]
    return PartFigures(part=part, variant=variant, bytes=path.stat().st_size, error=float(max(errors)))


def _check(figures: Sequence[PartFigures]) -> None:
    """Raise UserError where a float32 file says something else than KerasHub's model."""
    for one in figures:
        if one.variant == "float32" and one.error is not None and not one.error <= EQUAL:
            raise UserError(f"press: {one.part} as float32 is off by {one.error:.1e} of its largest number, and may be "
                            f"by {EQUAL:g}; nothing was written")


def _listed(text: str | None, option: str, names: Iterable[str]) -> list[str]:
    """Return the names in a list; all that there are where there is none. Raises UserError."""
    known = list(names)
    if text is None:
        return known
    result = [name.strip() for name in text.split(",")]
    if unknown := next((name for name in result if name not in known), None):
        raise UserError(f"press: {option} {text}: of text to image {', '.join(known)} can be made, and not {unknown}")
    return result
