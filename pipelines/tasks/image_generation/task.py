"""Image generation: pictures out of noise."""
from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

import models
from export.delivery import drawing
from export.keras_models.for_delegates import for_delegates
from export.signature import Arrays, Function, Signature, Tensor
from models.ddpm import STEP
from models.latent_diffusion import TOKENS
from models.vqvae import CODES
from pipelines.errors import UserError
from pipelines.features.codes import Codes
from pipelines.features.condition import Condition
from pipelines.features.diffusion_step import DiffusionStep
from pipelines.features.feature import Feature, Field
from pipelines.features.image import in_words
from pipelines.features.label import Label
from pipelines.features.noise import Noise
from pipelines.features.picture import Picture
from pipelines.features.text import FIELD as TEXT
from pipelines.features.text import Text
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks import text_files, text_serving
from pipelines.tasks.answered import Answered
from pipelines.tasks.compared import Compared
from pipelines.tasks.image_generation import baselines, beside, builders, revising, serving, to_keras
from pipelines.tasks.image_generation.builders import CODED, KINDS, LOSSES
from pipelines.tasks.image_generation.coded import PRIOR, Coded
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.inception import Inception
from pipelines.tasks.image_generation.judge import Judge, judge_of
from pipelines.tasks.image_generation.latent import Latent
from pipelines.tasks.image_generation.making import IMAGE, NOISE, Making
from pipelines.tasks.image_generation.measure import CONDITION, FID, GENERATED, LABEL, Pictures, levels, metrics_in
from pipelines.tasks.image_generation.one_step import OneStep
from pipelines.tasks.image_generation.seen import Judging
from pipelines.tasks.image_generation.stepwise import Stepwise
from pipelines.tasks.judge import JudgeSection
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.training.generative.adversarial import Adversarial
from pipelines.training.generative.denoising import Denoising
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.diffusing import diffusing
from pipelines.training.learners.latent import diffusing_latents
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    from export.writing import diffusion

if TYPE_CHECKING:
    import keras
    import numpy as np

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: The folder beside the drawing of examples with what a network said of them.
ANSWERS = "reference"
#: The setting of a discriminator that looks at batches.
BATCH = "batch"


class ImageGeneration(Task, name="image_generation", shorthand="judge"):
    """Pictures out of noise, like those that it has learnt from.

    Each test example has noise of its own, so that every file is asked for the same pictures. They are compared with
    the test images in what a classifier sees of both.

    Args:
        judge: the classifier: its recipe, the folder of its run, or its .keras file; or `inception`.
        by: what is asked for beside noise: nothing, a class, or a text.
        diffusion: how pictures are made step by step, of builders ddpm and latent_diffusion.
        codes: whether codes are drawn first, of builder vqvae.
    """

    targets = {LABEL: Label}
    kept_exact = (PRIOR,)
    baselines = baselines.NAMES
    later = ("judge", "diffusion.sampled", "diffusion.guidance", "diffusion.sampler")
    judge: JudgeSection | None = None
    by: Literal["class", "text"] | None = None
    diffusion: DiffusionSection | None = None
    codes: bool = False
    _model: ModelSection | None = PrivateAttr(None)
    _learnt: GenerativeLoss | None = PrivateAttr(None)
    _steps: int = PrivateAttr(0)
    _is_changed: bool = PrivateAttr(False)
    _measured: Pictures | None = PrivateAttr(None)
    _has_classes: bool = PrivateAttr(True)

    @model_validator(mode="after")
    def guidance_is_towards_a_class(self) -> ImageGeneration:
        if self.diffusion is not None and self.by is None and self.diffusion.guidance != 1:
            raise PydanticCustomError("combination", "guidance is towards a class or a text that is asked for: give "
                                      "by: class, or leave guidance out",
                                      {"at": ["task", str(self.entry_name), "diffusion", "guidance"]})
        return self

    @property
    def inputs(self) -> dict[str, type[Feature]]:  # type: ignore[override]
        return {IMAGE: Picture, NOISE: Noise, **({STEP: DiffusionStep} if self.diffusion is not None else {}),
                **({CODES: Codes} if self.codes else {}),
                **({CONDITION: Condition} if self.by == "class" else {}),
                **({TOKENS: Text} if self.by == "text" else {})}

    @property
    def split(self) -> Literal["stratified", "random"]:  # type: ignore[override]
        return "stratified" if self._has_classes else "random"

    @property
    def calls(self) -> int:  # type: ignore[override]
        return 1 if self.diffusion is None else self.diffusion.calls

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return metrics_in((Inception if self.judge is not None and self.judge.is_inception else Judge).suffix)

    @property
    def loss(self) -> str:  # type: ignore[override]
        return LOSSES.get(self._builder, "elbo")

    def of_model(self, section: ModelSection) -> ImageGeneration:
        task = self.model_copy()
        task._model = section
        return task

    def sampled_by(self, steps: int | None, guidance: float | None) -> ImageGeneration:
        """Return the task with another number of steps, or another guidance, than the recipe's; None leaves it.

        Raises:
            UserError: its models take no steps, or not so many, or no class.
        """
        if steps is None and guidance is None:
            return self
        if self.diffusion is None:
            raise UserError(f"sample: {'--steps' if steps is not None else '--guidance'}: the model makes pictures "
                            "without steps; leave it out")
        if steps is not None and not 1 <= steps <= self._steps:
            raise UserError(f"sample: --steps is {steps}; give 1 to {self._steps:,}, which the model knows")
        if guidance is not None and not 0 <= guidance < math.inf:
            raise UserError(f"sample: --guidance is {guidance:g}; give 0 or more")
        if guidance is not None and self.by is None:
            raise UserError("sample: --guidance is towards a class or a text, and the model takes none; leave it out")
        changes = {"sampled": steps, "guidance": guidance}
        task = self.model_copy(update={"diffusion": self.diffusion.model_copy(update={
            name: value for name, value in changes.items() if value is not None})})
        task._is_changed = True
        return task

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return what an example is made of; the task takes note of how many steps a diffusion has."""
        if self.by == "text" and not section.feature(TOKENS, Text).field and TEXT not in fields:
            raise UserError("task.image_generation.by is text, and the source has none; it has "
                            f"{', '.join(fields)}. Name a field of texts in data.tokens.field, or make them of the "
                            "classes: source: {captioned: …}")
        inputs, targets = super().features_of(section, fields)
        if self.by != "class" and LABEL not in fields and not section.feature(LABEL, Label).field:
            targets, self._has_classes = {}, False  # pictures alone, or with texts
        step = inputs.get(STEP)
        if isinstance(step, DiffusionStep):
            if self.diffusion is not None and self.diffusion.sampled > step.steps:
                raise UserError(f"task.image_generation.diffusion.sampled is {self.diffusion.sampled}, and a model of "
                                f"data.step.steps: {step.steps} knows no more steps; give fewer")
            self._steps = step.steps
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        builders.check(self._model, self)
        if self.judge is None or self.judge.is_there:
            self._judged(index)  # what does not fit is said before the training
        return {"input_shape": index.inputs[IMAGE].shape, "noise_shape": index.inputs[NOISE].shape,
                "classes": len(index.names(LABEL)) if self.by == "class" else 0,
                **({"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.names(TOKENS))}
                   if self.by == "text" else {})}

    @property
    def making(self) -> Making:
        """Return how its models make pictures."""
        if self.diffusion is not None:
            kind = Latent if self.by == "text" else Stepwise
            return kind(self.diffusion, self._steps, is_whole=not self._is_changed)
        if self.codes:
            return Coded(self._settings if self._builder == CODED else models.builder(CODED).settled({}))
        return OneStep()

    @property
    def revises(self) -> bool:
        """Return whether its models make pictures of others."""
        return type(self.making) is Stepwise

    @property
    def _builder(self) -> str:
        return self._model.builder if self._model is not None else ""

    @property
    def _settings(self) -> Mapping[str, Any]:
        """Return all settings of a builder that is known here; nothing of another."""
        if self._model is None or self._builder not in KINDS:
            return {}
        return models.builder(self._builder).settled(self._model.model_extra or {})

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return self.making.outputs(index)

    def signature(self, index: Index, place: Place = "device") -> Signature:
        return self.making.signature(index)

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return what the loss makes small; the task takes note of the loss, which has the learner.

        Raises:
            UserError: it compares an output with a target, or is for other models.
        """
        kind = KINDS.get(self._builder, GenerativeLoss)
        if not isinstance(loss, kind):
            known = sorted(name for name, choice in Loss.choices.items() if issubclass(choice, kind))
            learner = self._builder or self.entry_name
            raise UserError(f"train.loss: {learner} learns by {' or '.join(known)}, and not by {loss.entry_name}; "
                            f"leave it out, and it is {self.loss}")
        if isinstance(loss, Adversarial) and loss.alone and self._settings.get("normalization") == BATCH:
            raise UserError(f"train.loss: {loss.entry_name} compares images one by one, and the discriminator "
                            "normalizes batches; set model.normalization to none")
        self._learnt = loss
        return loss.objective()

    def learner(self, library: Any) -> type:
        loss = self._learnt or Loss.read(self.loss)
        assert isinstance(loss, GenerativeLoss)
        if isinstance(loss, Denoising):
            process = self.diffusion or DiffusionSection()
            learner = diffusing_latents if self.by == "text" else diffusing
            return learner(library, diffusion.signal(self._steps, process.schedule), process.target, loss.dropped)
        return loss.learner(library)

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the pictures, and beside them the images and what was asked for."""
        known = {name: inputs[name] for name in (IMAGE, CONDITION, TOKENS) if name in inputs}
        return {**self.making.answer(predictor, inputs), **known}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the signatures of a file; on a server also `generate`, where the usual one makes no whole picture,
        `sample`, from seeds to pictures, and `revise` of a diffusion, from seeds and pictures to others."""
        functions = self.making.functions(for_delegates(model) if place == "device" else model, data)
        if place == "device":
            return functions
        make = self.making.in_graph(model, data)
        if not isinstance(self.making, OneStep):
            functions.append(serving.generate(make, data.index))
        settings = self.making.settings(data.index)
        tokens = functools.partial(text_serving.tokens_of, data=data, name=TOKENS) if self.by == "text" else None
        functions.append(serving.sample(make, data.index, settings, tokens=tokens))
        if self.revises:
            settings += revising.tensors(data.index)
            functions.append(serving.sample(make, data.index, settings, revising.REVISE))
        return functions

    def files(self, data: Data) -> Mapping[str, bytes]:
        known = self.making.driver()
        texts = text_files.shipped(data, TOKENS) if self.by == "text" else {}
        return {**({} if known is None else {drawing.SAMPLER: json.dumps(known, indent=1).encode()}), **texts}

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        return self.making.calibration(inputs, load)

    def measure(self, index: Index) -> Pictures:
        """Return a fresh measure; the task takes note of it, which also holds files' pictures against the trained
        model's."""
        self._measured = Pictures(functools.partial(self._judged, index),
                                  index.names(LABEL) if LABEL in index.targets else [])
        return self._measured

    def compared(self, index: Index, given: Collection[str]) -> Compared:
        """Return how a file is held against the trained model: by what networks give, or by the pictures where it gives
        nothing else."""
        outputs = self.outputs(index)
        known = any(tensor.name in given for tensor in outputs)
        return to_keras.compared(outputs if known else OneStep().outputs(index),
                                 lambda: self._measured.to_keras if self._measured else None)

    def _judged(self, index: Index) -> Judging:
        return judge_of(self.judge, index, IMAGE)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what training images are worth, those that are nearest to pictures, and, of a
        model with an encoder, the evidence lower bound beside simpler models of pixels."""
        evaluation = beside.completed(
            evaluation, self._judged(data.index), lambda inputs: self.answer(predictor, inputs)[GENERATED], data,
            folder)
        return self.making.completed(evaluation, predictor, data, folder)

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw nothing: the measure draws the pictures, of which what a network says by itself may have none. They are
        kept for files to be held against."""
        if self._measured is not None and self._measured.folder is not None:
            to_keras.keep_beside(self._measured.folder, path.parent / ANSWERS)

    def labels(self, index: Index) -> list[str]:
        """Return the classes that can be asked for; none where none can."""
        return index.names(LABEL) if self.by == "class" else []

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        means = [float(levels(picture).mean()) for picture in outputs[GENERATED]]
        return [f"one of the {in_words(index.inputs[IMAGE])}, {mean:.0f} of 255 bright" for mean in means]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        asked = f"noise and a {self.by}" if self.by is not None else "noise"
        features = "Inception" if self.main.name == FID else "a classifier"
        return (f"It makes {in_words(index.inputs[IMAGE])} of {asked}. In the features of {features} their Fréchet "
                f"distance from the test images is {known[self.main.name]:.1f}, their precision "
                f"{known['precision']:.2f} and their recall {known['recall']:.2f}.")
