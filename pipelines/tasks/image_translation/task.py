"""Image translation: one image made of another."""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

import models
from export.keras_models import graph
from export.keras_models.for_delegates import for_delegates
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models import cyclegan
from models.cyclegan import BACK, RETURNED
from models.outputs import library_of
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.image import Image, in_words
from pipelines.features.target_image import TargetImage
from pipelines.figures import figures
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.image_pairs import ImagePairs
from pipelines.tasks import drawn_masks
from pipelines.tasks.answered import Answered
from pipelines.tasks.image_translation import baselines, perceptual
from pipelines.tasks.image_translation.measure import (
    CYCLE_ERROR,
    CYCLED,
    GENERATED,
    IMAGE,
    METRICS,
    TARGET,
    WINDOW,
    Likeness,
    levels,
)
from pipelines.tasks.image_translation.perceptual import Perceptual
from pipelines.tasks.judge import JudgeSection
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.training.generative.cycles import CycleGan
from pipelines.training.generative.translation import PairedGan, Translation
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import keras
    import numpy as np
    import PIL.Image

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: What the models of each builder learn by.
KINDS: Mapping[str, type[Translation]] = {"pix2pix": PairedGan, "cyclegan": CycleGan}
#: The builder that learns without pairs.
UNPAIRED = "cyclegan"


class ImageTranslation(Task, name="image_translation", shorthand="test"):
    """One image made of another, of the same size: learnt by pairs of builder pix2pix, without by cyclegan.

    Args:
        test: pairs, where what is made of test images is compared with their targets; cycles, where there are none to
            compare it with, and what comes back of the images is all that is measured.
        judge: a classifier of images like the targets, in whose layers pictures are compared with them, too: its
            recipe, which is trained first where it has not been, the folder of its run, or its .keras file.
    """

    inputs, targets, split, ranked = {IMAGE: Image}, {TARGET: TargetImage}, "random", True
    baselines = baselines.NAMES
    worst_caption = ("The best, the median and the worst test examples by their own figure: the image, what is made of "
                     "it, and the target or, without pairs, what comes back")
    test: Literal["pairs", "cycles"] = "pairs"
    judge: JudgeSection | None = None
    _model: ModelSection | None = PrivateAttr(None)
    _learnt: Translation | None = PrivateAttr(None)

    @model_validator(mode="after")
    def judge_compares_with_targets(self) -> ImageTranslation:
        if self.judge is not None and (self.judge.is_inception or self.test == "cycles"):
            reason = ("is a classifier, in whose layers pictures are compared; give its recipe or file"
                      if self.judge.is_inception else "compares with targets, and cycles have none; leave it out")
            raise PydanticCustomError("combination", "{reason}", {
                "reason": reason, "at": ["task", str(self.entry_name), "judge"]})
        return self

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        if not self._has_pairs:
            return (CYCLE_ERROR.model_copy(update={"shown": True}),)
        return (*METRICS, *([perceptual.METRIC] if self.judge is not None else []), CYCLE_ERROR)

    @property
    def loss(self) -> str:  # type: ignore[override]
        return str(KINDS.get(self._builder, PairedGan).entry_name)

    def of_model(self, section: ModelSection) -> ImageTranslation:
        task = self.model_copy()
        task._model = section
        return task

    @property
    def _has_pairs(self) -> bool:
        return self.test == "pairs"

    @property
    def _builder(self) -> str:
        return self._model.builder if self._model is not None else ""

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return what an example is made of. Raises UserError where the source does not have what is asked for."""
        source, learns_pairs = section.source, self._builder in KINDS and self._builder != UNPAIRED
        if isinstance(source, ImagePairs):
            if self._has_pairs and not source.tests_pairs:
                raise UserError(f"task.image_translation.test is pairs, and images of {source.entry_name} that are not "
                                "paired have nothing to be compared with: set it to cycles, and cycle_error is "
                                "measured")
            if learns_pairs and not source.paired:
                raise UserError(f"data.source.{source.entry_name}.paired is false, and {self._builder} learns by "
                                f"pairs; take model.builder: {UNPAIRED}")
        if learns_pairs and not self._has_pairs:
            raise UserError(f"task.image_translation.test is cycles, and {self._builder} has no way back; take "
                            f"model.builder: {UNPAIRED}")
        return super().features_of(section, fields)

    def dimensions(self, index: Index) -> dict[str, Any]:
        height, width, _ = index.inputs[IMAGE].shape
        if self._has_pairs and min(height or 0, width or 0) < WINDOW:
            raise UserError(f"data.image.size is {height} x {width}, and structural similarity is measured in windows "
                            f"of {WINDOW} x {WINDOW} pixels: give {WINDOW} or more")
        if self.judge is not None and self.judge.is_there:
            self._unlike(index)  # what does not fit is said before the training
        return {"input_shape": index.inputs[IMAGE].shape, "output_shape": index.targets[TARGET].shape}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (_picture(GENERATED, index.targets[TARGET]),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return what the loss makes small; the task takes note of the loss, which has the learner. Raises UserError
        where it is for other models."""
        kind = KINDS.get(self._builder, Translation)
        if not isinstance(loss, kind):
            known = sorted(name for name, choice in Loss.choices.items() if issubclass(choice, kind))
            raise UserError(f"train.loss: {self._builder or self.entry_name} learns by {' or '.join(known)}, and not "
                            f"by {loss.entry_name}; leave it out, and it is {self.loss}")
        loss.check(index.inputs[IMAGE].shape, index.targets[TARGET].shape)
        self._learnt = loss
        return loss.objective()

    def learner(self, library: Any) -> type:
        loss = self._learnt or Loss.read(self.loss)
        assert isinstance(loss, Translation)
        return loss.learner(library)

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what is made of images and, where there is a way back, what comes back of that."""
        said = predictor.predict({IMAGE: inputs[IMAGE]})
        if BACK in predictor.signatures:
            said = {**said, CYCLED: predictor.predict({TARGET: said[GENERATED]}, BACK)[RETURNED]}
        if CYCLED not in said:
            return {GENERATED: said[GENERATED]}
        return {GENERATED: said[GENERATED], CYCLED: said[CYCLED], IMAGE: inputs[IMAGE]}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the usual signatures, from image to image, and on a device, where a model has it, that of the
        way back, `back`. On a server the usual ones give what comes back of an image where nothing else is measured:
        over REST files are sent, and the way back takes none."""
        back = cyclegan.way_back(model)
        part = _part(model, IMAGE, self._said(place, back is not None))
        functions = super().functions(for_delegates(part) if place == "device" else part, data, place)
        if back is not None and place == "device":
            index = data.index
            taken = index.targets[TARGET].model_copy(update={"dtype": "float32"})
            signature = Signature(name=BACK, inputs=(taken,), outputs=(_picture(RETURNED, index.inputs[IMAGE]),))
            functions.append(graph.function(for_delegates(back), signature))
        return functions

    def signature(self, index: Index, place: Place = "device") -> Signature:
        known = super().signature(index, place)
        if CYCLED not in self._said(place, self._builder == UNPAIRED):
            return known
        return known.model_copy(update={"outputs": (*known.outputs, _picture(CYCLED, index.inputs[IMAGE]))})

    def _said(self, place: Place, comes_back: bool) -> list[str]:
        """Return what the usual signature gives."""
        return [GENERATED, CYCLED] if place == "server" and comes_back and not self._has_pairs else [GENERATED]

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return training images and, for the way back, what the trained model makes of them."""
        model = load()
        result: list[tuple[str, Arrays]] = [(DEFAULT, inputs)]
        if cyclegan.way_back(model) is not None:
            made = _part(model, IMAGE, [GENERATED]).predict({IMAGE: inputs[IMAGE].astype(np.float32)}, verbose=0)
            result.append((BACK, {TARGET: made[GENERATED]}))
        return result

    def measure(self, index: Index) -> Likeness:
        return Likeness(self._has_pairs, self._judging(index))

    def _judging(self, index: Index) -> Callable[[], Perceptual] | None:
        return functools.partial(self._unlike, index) if self.judge is not None else None

    def _unlike(self, index: Index) -> Perceptual:
        """Return what compares pictures as the judge sees them. Raises UserError where it does not fit them."""
        assert self.judge is not None
        return Perceptual(self.judge.path(perceptual.SETTING), index.targets[TARGET].shape)  # type: ignore[arg-type]

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what the image itself and a linear filter are worth, where there are targets."""
        if not self._has_pairs:
            return evaluation
        return baselines.completed(evaluation, data, self._judging(data.index))

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw each example's image, what is made of it, and its target or, without pairs, what comes back."""
        drawings = []
        for one in examples:
            last, title = (one.targets, TARGET) if self._has_pairs else (one.outputs, CYCLED)
            drawings += [_drawing(data, one.inputs[IMAGE][0], f"{one.rank} {1 - one.wrong:.3f}"),
                         _drawing(data, one.outputs[GENERATED][0], "made"), _drawing(data, last[title][0], title)]
        figures.grid(drawings, path, columns=6)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return [f"one of the {in_words(index.targets[TARGET])}, {levels(picture).mean():.0f} of 255 bright"
                for picture in outputs[GENERATED]]

    def write_answers(self, files: Sequence[Path], outputs: Arrays, index: Index, folder: Path) -> None:
        """Write what is made of each file as a PNG of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in zip(drawn_masks.names_of(files), levels(outputs[GENERATED]), strict=True):
            PIL.Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(folder / f"{name}.png")

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        worth = (f"the structural similarity to the target is {known['ssim']:.3f}" if self._has_pairs else
                 f"what comes back of it is {known['cycle_error']:.1f} of 255 levels from the image")
        return (f"It makes {in_words(index.targets[TARGET])} of {in_words(index.inputs[IMAGE])}. On the held-out test "
                f"examples {worth}.")


def _picture(name: str, like: Tensor) -> Tensor:
    """Return the output that is an image as another tensor is."""
    return Tensor(name=name, dtype="float32", shape=like.shape, role="image", meaning="pixels 0..255, to be rounded")


def _part(model: Any, given: str, made: Sequence[str]) -> Any:
    """Return the part of a model, of Keras 3 or tf_keras, that makes some outputs of one input."""
    library = library_of(model)
    outputs = models.named_outputs(model)
    return library.Model({given: models.named_inputs(model)[given]}, {name: outputs[name] for name in made},
                         name=model.name)


def _drawing(data: Data, value: np.ndarray, title: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        data.features[IMAGE].draw(axes, value, data.index.learnt[IMAGE])
        axes.set_title(title, fontsize=8)

    return draw
