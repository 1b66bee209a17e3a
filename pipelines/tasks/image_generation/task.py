"""Image generation: pictures out of noise."""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

import models
import pipelines.training.generative.adversarial
import pipelines.training.generative.denoising
import pipelines.training.generative.elbo  # noqa: F401  makes the losses known
from export.keras_models import graph
from export.predictors import choose
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from export.writing.diffusion import signal
from models import variational
from models.ddpm import DENOISED, STEP
from pipelines.errors import UserError
from pipelines.features.condition import Condition
from pipelines.features.diffusion_step import DiffusionStep
from pipelines.features.feature import Feature, Field
from pipelines.features.image import in_words
from pipelines.features.label import Label
from pipelines.features.noise import Noise
from pipelines.features.picture import Picture
from pipelines.figures import figures
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks.answered import Answered
from pipelines.tasks.image_generation import autoencoding, baselines, beside, serving
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.judge import Judge, JudgeSection, judge_of
from pipelines.tasks.image_generation.measure import CONDITION, FID, GENERATED, METRICS, REAL, Pictures, levels
from pipelines.tasks.task import Evaluation, Features, Place, Task
from pipelines.training.generative.denoising import Denoising
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.diffusing import diffusing
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import keras as keras_library
    import numpy as np
    import tf_keras

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

IMAGE, NOISE, LABEL = REAL, "noise", "label"
#: What a recipe without train.loss means, by builder.
LOSSES = {"vae": "elbo", "dcgan": "gan", "ddpm": "denoising"}
#: The builder whose models are asked step by step.
STEP_BY_STEP = "ddpm"


class ImageGeneration(Task, name="image_generation", shorthand="judge"):
    """Pictures out of noise, like those that it has learnt from.

    Each test example has noise of its own, so that every file is asked for the same pictures. They are compared with
    the test images in what a classifier sees of both.

    Args:
        judge: the classifier: its recipe, the folder of its run, or its .keras file.
        by: what is asked for beside noise: nothing, or a class.
        diffusion: how pictures are made step by step, of builder ddpm.
    """

    targets = {LABEL: Label}
    metrics = METRICS
    baselines = baselines.NAMES
    worst_caption = "The pictures that the judge is least sure of"
    judge: JudgeSection | None = None
    by: Literal["class"] | None = None
    diffusion: DiffusionSection | None = None
    _model: ModelSection | None = PrivateAttr(None)
    _learnt: GenerativeLoss | None = PrivateAttr(None)
    _steps: int = PrivateAttr(0)

    @model_validator(mode="after")
    def guidance_is_towards_a_class(self) -> ImageGeneration:
        if self.diffusion is not None and self.by is None and self.diffusion.guidance != 1:
            raise PydanticCustomError("combination", "guidance is towards a class that is asked for: give by: class, "
                                      "or leave guidance out",
                                      {"at": ["task", str(self.entry_name), "diffusion", "guidance"]})
        return self

    @property
    def inputs(self) -> dict[str, type[Feature]]:  # type: ignore[override]
        return {IMAGE: Picture, NOISE: Noise, **({STEP: DiffusionStep} if self.diffusion is not None else {}),
                **({CONDITION: Condition} if self.by == "class" else {})}

    @property
    def loss(self) -> str:  # type: ignore[override]
        return LOSSES.get(self._model.builder if self._model is not None else "", "elbo")

    def of_model(self, section: ModelSection) -> ImageGeneration:
        task = self.model_copy()
        task._model = section
        return task

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return what an example is made of; the task takes note of how many steps a diffusion has."""
        inputs, targets = super().features_of(section, fields)
        step = inputs.get(STEP)
        if isinstance(step, DiffusionStep):
            if self.diffusion is not None and self.diffusion.sampled > step.steps:
                raise UserError(f"task.image_generation.diffusion.sampled is {self.diffusion.sampled}, and a model of "
                                f"data.step.steps: {step.steps} knows no more steps; give fewer")
            self._steps = step.steps
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        builder = self._model.builder if self._model is not None else ""
        if builder == STEP_BY_STEP and self.diffusion is None:
            raise UserError(f"model.builder: {builder} is asked step by step: give task.image_generation.diffusion, "
                            "for instance {sampled: 20}, and data.noise.size: image")
        if builder in LOSSES and builder != STEP_BY_STEP and self.diffusion is not None:
            raise UserError(f"task.image_generation.diffusion: {builder} makes pictures in one step; leave it out, or "
                            f"take model.builder: {STEP_BY_STEP}")
        return {"input_shape": index.inputs[IMAGE].shape, "noise_shape": index.inputs[NOISE].shape,
                "classes": len(index.names(LABEL)) if self.by == "class" else 0}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        if self.diffusion is not None:
            return (Tensor(name=DENOISED, dtype="float32", shape=index.inputs[IMAGE].shape,
                           meaning=f"the {self.diffusion.target} of a noisy image, -1 to 1"),)
        return (Tensor(name=GENERATED, dtype="float32", shape=index.inputs[IMAGE].shape, role="image",
                       meaning="pixels 0..255, to be rounded"),)

    def signature(self, index: Index, place: Place = "device") -> Signature:
        """Return the signature of what ships: noise, and what is asked for, to a picture; of a diffusion one step of
        it."""
        asked = tuple(tensor for name, tensor in index.inputs.items() if name != IMAGE)
        return Signature(inputs=asked, outputs=self.outputs(index))

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return what the loss makes small; the task takes note of the loss, which has the learner.

        Raises:
            UserError: it compares an output with a target.
        """
        if not isinstance(loss, GenerativeLoss):
            known = sorted(name for name, choice in Loss.choices.items() if issubclass(choice, GenerativeLoss))
            raise UserError(f"train.loss: image_generation learns by {' or '.join(known)}, and not by "
                            f"{loss.entry_name}; leave it out, and it is {self.loss}")
        self._learnt = loss
        return loss.objective()

    def learner(self, library: Any) -> type:
        loss = self._learnt or Loss.read(self.loss)
        assert isinstance(loss, GenerativeLoss)
        if isinstance(loss, Denoising):
            process = self.diffusion or DiffusionSection()
            return diffusing(library, signal(self._steps, process.schedule), process.target, loss.dropped)
        return loss.learner(library)

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the pictures, and beside them the images and what was asked for; of a diffusion what the network says
        of the first step too."""
        known = {name: inputs[name] for name in (IMAGE, CONDITION) if name in inputs}
        taken = {tensor.name for tensor in choose(predictor.signatures).inputs}  # a server refuses more
        asked = {name: values for name, values in inputs.items() if name in taken}
        said = predictor.predict(asked)
        if self.diffusion is None:
            return {GENERATED: said[GENERATED], **known}
        pictures = self.diffusion.made(predictor, inputs[NOISE], inputs.get(CONDITION), self._steps)
        return {DENOISED: said[DENOISED], GENERATED: pictures, **known}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the generator, or one step of a diffusion, as the usual signature; `encode` too where the model has an
        encoder; on a server also `sample`, from seeds to pictures."""
        if self.diffusion is not None:
            step = graph.function(model, self.signature(data.index, place))
            making = functools.partial(self.diffusion.in_graph, step.call, steps=self._steps)
            return [step] if place == "device" else [step, serving.sample(making, step.signature, data.index)]
        signature = self.signature(data.index, place)
        made = Function(signature, _generator(model, signature))
        functions = [made]
        if autoencoding.has_encoder(model):
            functions.append(autoencoding.encode(model, data.index.inputs[IMAGE], data.index.inputs[NOISE]))
        if place == "device":
            return functions
        return [*functions, serving.sample(lambda inputs: made.call(**inputs)[GENERATED], signature, data.index)]

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return noise for the generator, and training images for the encoder where there is one; of a diffusion images
        at steps of their drowning."""
        if self.diffusion is not None:
            noisy = self.diffusion.noisy(inputs[IMAGE], inputs[NOISE], inputs[STEP], self._steps)
            return [(DEFAULT, {**{name: values for name, values in inputs.items() if name != IMAGE}, NOISE: noisy})]
        asked = {name: values for name, values in inputs.items() if name != IMAGE}
        found: list[tuple[str, Arrays]] = [(DEFAULT, asked)]
        if autoencoding.has_encoder(load()):
            found.append((autoencoding.ENCODE, {IMAGE: inputs[IMAGE].astype(np.float32)}))
        return found

    def measure(self, index: Index) -> Pictures:
        return Pictures(functools.partial(self._judged, index), index.names(LABEL))

    def _judged(self, index: Index) -> Judge:
        return judge_of(self.judge, index, IMAGE)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what training images are worth, those that are nearest to pictures, and, of a
        model with an encoder, the evidence lower bound beside simpler models of pixels."""
        evaluation = beside.completed(
            evaluation, self._judged(data.index), lambda inputs: self.answer(predictor, inputs)[GENERATED], data,
            folder)
        outputs = {tensor.name for tensor in next(iter(predictor.signatures.values())).outputs}
        if variational.LOG_VARIANCE in outputs:
            evaluation = autoencoding.completed(evaluation, predictor, data, folder)
        return evaluation

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw the pictures, each under how sure the judge is of it."""
        drawn = [functools.partial(self._draw_made, data=data, answered=one) for one in examples]
        figures.grid(drawn, path)

    def _draw_made(self, axes: Axes, data: Data, answered: Answered) -> None:
        data.features[IMAGE].draw(axes, answered.outputs[GENERATED][0], data.index.learnt[IMAGE])
        axes.set_title(f"{0.5 - answered.wrong:.2f}", fontsize=8)

    def labels(self, index: Index) -> list[str]:
        """Return the classes that can be asked for; none where none can."""
        return index.names(LABEL) if self.by == "class" else []

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        means = [float(levels(picture).mean()) for picture in outputs[GENERATED]]
        return [f"one of the {in_words(index.inputs[IMAGE])}, {mean:.0f} of 255 bright" for mean in means]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        asked = "noise and a class" if self.by == "class" else "noise"
        return (f"It makes {in_words(index.inputs[IMAGE])} of {asked}. In the features of a classifier their Fréchet "
                f"distance from the test images is {known[FID]:.1f}, their precision {known['precision']:.2f} and "
                f"their recall {known['recall']:.2f}.")


def _generator(model: Any, signature: Signature) -> Callable[..., dict[str, Any]]:
    """Return the call of the part of a model, of Keras 3 or tf_keras, that makes pictures."""
    library = keras_library if isinstance(model, keras_library.Model) else tf_keras
    inputs = models.named_inputs(model)
    asked = {tensor.name: inputs[tensor.name] for tensor in signature.inputs}
    part = library.Model(asked, {GENERATED: models.named_outputs(model)[GENERATED]}, name=model.name)
    return graph.function(part, signature).call


