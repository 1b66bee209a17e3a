"""What every variant must be able to do, and the workshop that it is made in."""
from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from etils import epy
from pydantic import Field, model_validator

from export.conversion import convert
from export.encodings import ENCODINGS
from export.keras_models import file as keras_file
from export.tflite import file as tflite_file
from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.entries import Entry, Section
from pipelines.ingest import stream
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Index, select
from pipelines.training import loop
from pipelines.training.distillation import Distillation, with_answers
from pipelines.training.distribution import Distribution
from pipelines.training.optimizers import Adam
from pipelines.training.schedules import Cosine
from pipelines.training.section import TrainSection
from pipelines.variants.record import VariantRecord, zipped_size

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf
    import tf_keras


class Calibration(Section):
    """The training pictures that integer variants find the ranges of their activations with. A bare number means `examples`.

    Args:
        examples: how many.
        balanced: as many of each class; otherwise as they come.
    """

    examples: int = Field(200, ge=1)
    balanced: bool = False

    @model_validator(mode="before")
    @classmethod
    def read_number(cls, given: Any) -> Any:
        return {"examples": given} if isinstance(given, int) and not isinstance(given, bool) else given


class Learning(Section):
    """How a variant that trains goes on from the trained model. Loss, data and augmentation are the recipe's.

    Args:
        epochs: passes over the training split.
        rate: peak of the learning rate, which falls along a cosine.
        distill: the float model teaches; not where it is null.
    """

    epochs: int = Field(3, ge=1)
    rate: float = Field(1e-4, gt=0)
    distill: Distillation | None = None


@dataclasses.dataclass
class VariantContext:
    """What a variant is made from, and a place to work.

    Args:
        data, train, seed: of the recipe.
        index: of the data.
        model: the trained Keras model's file.
        graph: the float graph that was written of it, see `export.conversion.convert.float_graph`.
        folder: for this variant's work alone; kept over interruptions.
        calibration: where a variant does not say it itself.
        journal: receives what a training measures.
        span: of the stage's progress, 0 to 1, that this variant takes.
    """

    data: DataSection
    train: TrainSection
    seed: int
    index: Index
    model: Path
    graph: Path
    folder: Path
    calibration: Calibration
    journal: Journal
    span: tuple[float, float] = (0.0, 1.0)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> keras.Model:
        """The trained model. Raises ValueError where there is only a file that was converted from one."""
        if self.model.suffix == ".tflite":
            raise ValueError("this variant needs the Keras model; of a .tflite file there can be float32, float16, dynamic, int8, "
                             "int8_weights and int4_weights")
        return keras_file.load(self.model)

    def progress(self, done: float, text: str) -> None:
        """Tells whoever watches how far this variant is, 0 to 1."""
        workers.say(done=self.span[0] + done * (self.span[1] - self.span[0]), text=text)

    def pictures(self, wanted: Calibration | None = None) -> np.ndarray:
        """Training pictures, uint8 (examples, height, width, channels), drawn by the seed. Their digest is kept."""
        wanted = wanted or self.calibration
        generator = np.random.default_rng(self.seed)
        split = self.index.splits["train"]
        count = min(split.examples, wanted.examples)
        if wanted.balanced:
            labels = np.fromiter((label for _, label in self._examples("train").as_numpy_iterator()), "int64")
            chosen = _balanced(labels, count, len(self.index.classes), generator)
        else:
            chosen = generator.choice(split.examples, count, replace=False)
        images, _ = stream.arrays(select(self._examples("train"), np.sort(chosen).tolist()))
        self.details |= {"calibration": len(images), "calibration_digest": hashlib.sha256(images.tobytes()).hexdigest()}
        return images

    def exact(self) -> bytes:
        """The trained model as a float32 TFLite file."""
        return convert.convert(self.graph, "float32")

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures and labels of the validation split."""
        return stream.arrays(self._examples("validation"))

    def fit(self, model: Any, learning: Learning, part: str, others: Sequence[Any] = ()) -> None:
        """Trains a model of either Keras on the recipe's data; goes on from its checkpoint if there is one.

        Args:
            model: from pictures to logits (batch, classes).
            part: names this training among the variant's.
            others: callbacks.
        """
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        stream.set_seed(self.seed)
        if self.train.deterministic:
            tf.config.experimental.enable_op_determinism()
        classes, steps = len(self.index.classes), self.steps
        settings = TrainSection(
            epochs=learning.epochs, loss=self.train.loss, optimizer=Adam(), schedule=Cosine(peak=learning.rate), strategy="one",
            deterministic=self.train.deterministic)
        teacher = self.load() if learning.distill else None

        def taught(batches: tf.data.Dataset) -> tf.data.Dataset:
            return with_answers(batches, teacher) if teacher is not None else batches

        training, validation = self._examples("train"), self._examples("validation")
        loop.fit(
            model, settings, steps=steps, class_counts=self.index.splits["train"].class_counts, folder=folder,
            journal=Journal(self.journal.path, f"{self.journal.prefix}{part}."), lesson=learning.distill, others=others,
            batches=lambda epoch: taught(stream.training_batches(
                training, classes=classes, batch=self.data.batch, augmentations=self.data.augment, seed=self.seed,
                first_epoch=epoch, epochs=learning.epochs)),
            validation=taught(stream.evaluation_batches(validation, classes=classes, batch=256)),
            distribution=Distribution("one", keras if isinstance(model, keras.Model) else tf_keras),
            progress=lambda epoch, done, metrics: self.progress(done, f"{part} epoch {epoch}/{learning.epochs}"))

    @property
    def steps(self) -> int:
        """Training steps of an epoch."""
        return self.index.splits["train"].examples // self.data.batch

    def _examples(self, part: Any) -> tf.data.Dataset:
        return stream.examples(self.data.source, self.index, self.data.image, part)


class Variant(Entry):
    """Something to make of a trained model, as one TFLite file.

    Args:
        name: what its file, its row and its gates are called; the variant's own where not given.
    """

    #: Whether it trains, and so wants labels.
    learns: ClassVar[bool] = False
    #: Whether the operators of its file can be compared with those of the trained model.
    explained: ClassVar[bool] = False
    name: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)

    @property
    def title(self) -> str:
        return self.name or str(self.entry_name)

    @property
    def encoding(self) -> str:
        """How its numbers are written, one of `export.encodings.ENCODINGS`."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        return ENCODINGS[self.encoding].summary

    def content(self, shop: VariantContext) -> bytes:
        """The file. Raises ValueError where it cannot be made."""
        raise NotImplementedError

    def make(self, shop: VariantContext, target: Path) -> VariantRecord:
        """Writes the file; what was made."""
        content = self.content(shop)
        target.write_bytes(content)
        found = shop.details
        return VariantRecord(name=self.title, encoding=found.pop("encoding", self.encoding), summary=found.pop("summary", self.summary),
                    integer=not tflite_file.float_tensors(content), bytes=len(content), zipped=zipped_size(content), details=found)


def _balanced(labels: np.ndarray, count: int, classes: int, generator: np.random.Generator) -> np.ndarray:
    """Places of `count` labels, as many of each class as there are, the first classes one more where it does not come out even."""
    places = [generator.permutation(np.flatnonzero(labels == label)) for label in range(classes)]
    rounds = [own[turn] for turn in range(max(map(len, places))) for own in places if turn < len(own)]
    return np.array(rounds[:count])
