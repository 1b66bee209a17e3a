"""What every variant must be able to do, and what it is made from."""
from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy

from export import ranges
from export.conversion import convert, exact, front, int8, unrolled
from export.encodings import ENCODINGS
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.signature import DEFAULT, Arrays
from export.tflite import file as tflite_file
from export.tflite import signatures
from export.tflite.trace import Trace
from models import front_end
from models.outputs import library_of
from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.engine.store import whole
from pipelines.entries import Entry, Named
from pipelines.ingest.data import Data, set_seed
from pipelines.training import loop
from pipelines.training.distribution import Distribution
from pipelines.training.learners.distilled import distilled
from pipelines.training.optimizers import Adam
from pipelines.training.schedules import Cosine
from pipelines.training.section import TrainSection
from pipelines.variants import chosen
from pipelines.variants.record import VariantRecord, zipped_size
from pipelines.variants.settings import Calibration, Learning

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from export.conversion.convert import Functions


#: What an int8 file of a task with real inputs is.
REAL_INPUTS = "weights and activations in 8-bit integers, real numbers in and out"

#: What details call the ranges of real inputs that a calibration saw.
RANGES = "calibrated_ranges"


@dataclasses.dataclass
class VariantContext:
    """What a variant is made from, and a folder to work in.

    Args:
        data: the recipe's examples; its task and seed too.
        train: how the model was trained.
        model: the trained Keras model's file, or a .tflite file that was converted from one.
        graph: the float graph that was written of it, see `export.conversion.convert.float_graph`.
        folder: for this variant's work alone; kept over interruptions.
        calibration_section: where a variant does not say it itself.
        journal: receives what a training measures.
        span: of the stage's progress, 0 to 1, that this variant takes.
        limits: title of a variant that searches to the largest drop that passes, see `Recipe.limit_of`.
        details: what variants note of what they did, for the record.
        recurrent: the model is a Keras model with layers that loop.
    """

    data: Data
    train: TrainSection
    model: Path
    graph: Path
    folder: Path
    calibration_section: Calibration
    journal: Journal
    span: tuple[float, float] = (0.0, 1.0)
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    recurrent: bool = False

    def load(self) -> keras.Model:
        """Return the trained model. Raises ValueError where there is only a file that was converted from one."""
        if self.model.suffix == ".tflite":
            raise ValueError("this variant needs the Keras model; of a .tflite file there can be float32, float16, "
                             "dynamic, int8, int8_weights and int4_weights")
        return keras_file.load(self.model)

    def progress(self, done: float, text: str) -> None:
        """Tell whoever watches how far this variant is, 0 to 1."""
        first, last = self.span
        workers.report(done=first + done * (last - first), text=text)

    def calibration(self, requested: Calibration | None = None) -> list[tuple[str, Arrays]]:
        """Return training inputs, drawn by the seed, the longest sequence among them, with the signature that they go
        into. Their digest is kept in `details`.

        Raises:
            UserError: as many of each class are requested, and the task has no classes.
        """
        requested = requested or self.calibration_section
        positions = chosen.positions(self.data, requested, longest=self.recurrent)
        inputs, _ = self.data.arrays("train", positions)
        digest = hashlib.sha256()
        for values in inputs.values():
            digest.update(values.tobytes())
        self.details |= {"calibration": len(positions), "calibration_digest": digest.hexdigest()}
        if known := ranges.seen(inputs):
            self.details[RANGES] = known
        return self.data.task.calibration(inputs, self.load)

    def inputs(self, requested: Calibration | None = None) -> Arrays:
        """Return the calibration inputs of the default signature alone."""
        return default_inputs(self.calibration(requested))

    @property
    def integer_graph(self) -> Path:
        """Return the float graph that 8-bit integers are made of, whose recurrent layers have no loop; `details` notes
        where it is not the others' graph."""
        return self._without_loops("integers")

    @property
    def wide_integer_graph(self) -> Path:
        """Return the float graph that 16-bit integers are made of: without loops, and without operators for LSTMs."""
        return self._without_loops("wide_integers", every=True)

    def _without_loops(self, name: str, *, every: bool = False) -> Path:
        if not self.recurrent:
            return self.graph
        target, trained = self.folder / name, self.load()
        model = self.for_integers(trained, every=every)
        if model is trained:
            return self.graph
        if not target.exists():
            with whole(target) as beside:
                convert.float_graph(model, self.functions, beside)
        return target

    def for_integers(self, model: keras.Model, *, every: bool = False) -> keras.Model:
        """Return a model without the loops of its recurrent layers, of which the converter makes no integers; itself
        where it has none that can be written out.

        Args:
            every: write out LSTMs as well that become one operator.
        """
        plain = unrolled.unrolled(model, every=every) if self.recurrent else None
        if plain is None:
            return model
        self.details["unrolled"] = True
        return plain

    def exact(self) -> bytes:
        """Return the trained model as a float32 TFLite file, of the operators that an integer file has."""
        return convert.convert(self.integer_graph, "float32")

    def validation(self, most: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return inputs and targets of the validation split: all, or the first so many."""
        examples = self.data.index.splits["validation"].examples
        return self.data.arrays("validation", examples if most is None else min(most, examples))

    def int8(self, graph: Path, calibration: Sequence[tuple[str, Arrays]], *, per_channel: bool = True,
             integer_io: bool = True, all_integer: bool | None = None) -> bytes:
        """Return a float graph as an int8 file; its inputs as the task wants them. See `convert.convert`.

        Args:
            all_integer: by default operators without an integer form stay float, and `details` names them; True makes
                them an error, and False leaves float what is.

        Raises:
            ValueError: an operator has no integer form, and all are to have one.
        """
        if not self.data.real_inputs:
            make = functools.partial(convert.convert, graph, "int8", calibration, per_channel=per_channel,
                                     integer_io=integer_io)
            if all_integer is False:
                return make(all_integer=False)
            try:
                return make(all_integer=True)
            except Exception:  # of several classes, some of them the converter's own
                return self._partly_integer(make(all_integer=False), strict=all_integer is True)
        calibrated = int8.calibrate(graph, calibration, apart=True)
        return int8.quantize(calibrated, per_channel=per_channel, keep_float=self.front(calibrated),
                             integer_io=integer_io)

    def _partly_integer(self, content: bytes, strict: bool) -> bytes:
        """Return an int8 file some of whose operators are float, and note which."""
        names = tflite_file.float_operators(content)
        if strict:
            raise ValueError(f"all_integer: {', '.join(names)} {'has' if len(names) == 1 else 'have'} no integer form. "
                             "Leave the setting out, and they stay float")
        self.details |= {"encoding": "mixed", "stays_float": names}
        return content

    def front(self, calibrated: bytes) -> list[int]:
        """Return the operators of a calibrated file that stay float, so that it takes real inputs; none where the task
        does not ask for it."""
        if not self.data.real_inputs:
            return []
        heard = front.named(Trace(calibrated), (front_end.NAME,)) if self.hears else []
        return sorted({*front.operators(calibrated), *heard})

    @property
    def hears(self) -> bool:
        """Return whether the model takes sound, of which a front end makes what the network sees."""
        return any(tensor.role == "waveform" for tensor in self.data.index.inputs.values())

    def with_exact_front(self, content: bytes) -> bytes:
        """Return a file of a model that takes sound with the front end's float32 weights, and note it; the file as it
        is where the model takes none."""
        if not self.hears:
            return content
        self.details["stays_float"] = ["front end"]
        return exact.with_exact(content, convert.convert(self.graph, "float32"), (front_end.NAME,))

    def with_exact_signatures(self, content: bytes) -> bytes:
        """Return a file with the float32 weights of the signatures that the task wants as they were trained, and note
        it; the file as it is where it has none of them."""
        names = [name for name in self.data.task.kept_exact if name in signatures.of(content)]
        if not names:
            return content
        self.details["stays_float"] = [*self.details.get("stays_float", []), *names]
        return exact.with_exact_signatures(content, convert.convert(self.graph, "float32"), names)

    @property
    def functions(self) -> Functions:
        """Return what is written of a model for devices: a function from a model to its signatures."""
        return device_functions(self.data)

    @property
    def steps(self) -> int:
        """Return the training steps of an epoch."""
        return self.data.steps

    def fit(self, model: Any, learning: Learning, part: str, callbacks: Sequence[Any] = ()) -> None:
        """Train a model of either Keras on the recipe's data; go on from its checkpoint if there is one.

        Args:
            model: from the task's inputs to its outputs.
            part: names this training among the variant's.
            callbacks: of the library that the model is of; the recipe's own are left out.
        """
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        set_seed(self.data.seed)
        if self.train.deterministic:
            tf.config.experimental.enable_op_determinism()
        task, index = self.data.task, self.data.index
        library = library_of(model)
        settings = TrainSection(
            epochs=learning.epochs, loss=self.train.loss, optimizer=Adam(), schedule=Cosine(peak=learning.rate),
            strategy="one", deterministic=self.train.deterministic)
        objective = task.objective(self.train.loss, index)
        if learning.distill is not None:
            objective = distilled(objective, self.load(), learning.distill, list(index.inputs), task.paired(index))
        training = loop.Training(
            settings=settings, objective=objective, watched=task.watch(index), monitored=task.watched, steps=self.steps,
            batches=lambda epoch: self.data.training(epoch, learning.epochs), validation=self.data.validation(),
            folder=folder, journal=Journal(self.journal.path, f"{self.journal.prefix}{part}."),
            progress=lambda epoch, done, metrics: self.progress(done, f"{part} epoch {epoch}/{learning.epochs}"),
            distribution=Distribution("one", library), callbacks=callbacks)
        loop.fit(self._named(model, library), training, task.learner(library))

    def _named(self, model: Any, library: Any) -> Any:
        """Return the model with its outputs in a dict, by the task's names: those who rewrite it for a training may
        have made a list or a bare tensor of them. It shares its layers."""
        if isinstance(model.output, Mapping):
            return model
        outputs = self.data.task.outputs(self.data.index)
        names = [outputs[0].name] if len(outputs) == 1 else graph.output_names(self.load())
        return library.Model(model.input, dict(zip(names, model.outputs, strict=True)), name=model.name)


class Variant(Named, Entry):
    """Something to make of a trained model, as one TFLite file."""

    #: Whether it trains, and so wants labels.
    learns: ClassVar[bool] = False
    #: Whether the operators of its file can be compared with those of the trained model.
    explained: ClassVar[bool] = False
    #: Whether its file is asked a few steps of a sequence at a time, and gives what it remembers.
    streams: ClassVar[bool] = False
    #: Whether it is two files, of which the second takes what the first gives.
    split: ClassVar[bool] = False

    @property
    def encoding(self) -> str:
        """Return how its numbers are written, one of `export.encodings.ENCODINGS`."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """Return what it is, in a line."""
        return ENCODINGS[self.encoding].summary

    def content(self, context: VariantContext) -> bytes:
        """Return the file. Raises ValueError where it cannot be made."""
        raise NotImplementedError

    def finished(self, context: VariantContext) -> bytes:
        """Return the file, whose layers that stay float are as exact as they were trained. Raises ValueError."""
        content = self.content(context)
        if self.encoding == "float32":
            return content
        content = context.with_exact_front(content)
        # what a variant has trained is not the trained model's any more
        return content if self.learns else context.with_exact_signatures(content)

    def make(self, context: VariantContext, path: Path) -> VariantRecord:
        """Write the file; return what was made."""
        content = self.finished(context)
        with whole(path) as beside:
            beside.write_bytes(content)
        details = dict(context.details)
        encoding = details.pop("encoding", self.encoding)
        summary = details.pop("summary", self.summary)
        if kept := details.get("stays_float"):
            summary += f"; {', '.join(kept)} float"
        if details.get("looped"):
            summary += "; recurrent layers in a loop of integers"
        if details.get("unrolled"):
            summary += "; recurrent layers gate by gate, without loops"
        return VariantRecord(
            name=self.title, encoding=encoding, summary=summary, integer=not tflite_file.float_tensors(content),
            bytes=len(content), zipped=zipped_size(content), details=details)


def device_functions(data: Data) -> Functions:
    """Return the function from a model to the signatures that a device's file has, as the task has them."""
    return lambda model: data.task.functions(model, data, "device")


def default_inputs(calibration: Sequence[tuple[str, Arrays]]) -> Arrays:
    """Return the inputs of the default signature out of several signatures' inputs; those of the first where it has
    another name."""
    return next((inputs for signature, inputs in calibration if signature == DEFAULT), calibration[0][1])
