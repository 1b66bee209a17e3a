"""What a task is: what a model's outputs mean, how they are learnt, and what they are worth. One file per task."""
from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from etils import epy
from pydantic import BaseModel

from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from export.tflite.detection import PostProcessing
from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.features.feature import Feature, Field
from pipelines.figures import figures
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks.adopted import graph_of_images
from pipelines.tasks.answered import Answered
from pipelines.tasks.compared import Compared
from pipelines.tasks.decoding import decoding
from pipelines.tasks.evaluation import Evaluation, Figure, Measure, Metric, Table, rounded
from pipelines.tasks.own_examples import examples_in
from pipelines.tasks.pairwise import pairwise
from pipelines.training.learners.auxiliary import with_auxiliary
from pipelines.training.learners.supervised import Objective, supervised
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

__all__ = ["Evaluation", "Figure", "Measure", "Metric", "Place", "Table", "Task", "rounded"]

Place = Literal["device", "server"]
#: By name, with their settings.
Features = dict[str, Feature]
#: Adds what a teacher says on some outputs to an objective.
Taught = Callable[[Objective, Sequence[Tensor]], Objective]


class Task(Entry):
    """What outputs mean, how they are learnt, what they are worth. Five methods must be written: dimensions, outputs,
    measure, in_words and sentence."""
    #: What the model is given, and what it learns to answer, by name.
    inputs: ClassVar[dict[str, type[Feature]]]
    targets: ClassVar[dict[str, type[Feature]]]
    #: How examples are divided into splits where the source has none: by the classes of the first target, class by
    #: class with no class in two splits, at random, or in their order.
    split: ClassVar[Literal["stratified", "by_class", "random", "chronological"]] = "stratified"
    #: What it is worth; `drop` is about the first.
    metrics: ClassVar[tuple[Metric, ...]]
    #: Other models that the trained one is measured beside, see `completed`; gates may name them.
    baselines: ClassVar[tuple[str, ...]] = ()
    #: What is watched while it learns, beside the loss; callbacks monitor `val_` of the first unless they say another.
    watched: ClassVar[tuple[Metric, ...]] = ()
    pairs: ClassVar[dict[str, str]] = {}  # output to the target that a pairwise loss compares it with
    #: Settings, by their names with dots, that say how a trained model is asked and judged: they train nothing again.
    later: ClassVar[tuple[str, ...]] = ()
    kept_exact: ClassVar[tuple[str, ...]] = ()  # signatures whose weights stay as they were trained in every file
    #: Whether integer files take real numbers and scale them: where their ranges differ, or some may be missing, NaN.
    real_inputs: ClassVar[bool] = False
    #: What a recipe without train.loss means, as it would write it.
    loss: ClassVar[str] = "cross_entropy"
    calls: ClassVar[int] = 1  # of its network for an answer
    ranked: ClassVar[bool] = False  # the report shows the best, the median and the worst examples, not the wrong alone
    #: Whether its network's outputs become boxes, see `post_processing`.
    gives_boxes: ClassVar[bool] = False
    #: Whether the test examples are others than those that files are calibrated with.
    held_out: ClassVar[bool] = True
    worst_caption: ClassVar[str] = "The examples that the model is most wrong about"  # of what the report shows

    @property
    def main(self) -> Metric:
        """Return the metric that `drop` is about."""
        return self.metrics[0]

    @property
    def places(self) -> Mapping[str, tuple[float, float]]:
        """Return where key points of what an image shows lie in it, by name: y and x as shares; none if anywhere."""
        return {}

    @property
    def features(self) -> dict[str, type[Feature]]:
        """Return what an example is made of."""
        return self.inputs | self.targets

    @property
    def data_settings(self) -> Mapping[str, type[BaseModel]]:
        """Return what a recipe may set below `data`, by name: the features, unless the task chooses them itself."""
        return self.features

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return the inputs and the targets of an example, by name, with their settings.

        By default `inputs` and `targets`, whatever the source has. A task whose examples are what the source has, such
        as the columns of a table, makes them of its fields.

        Raises:
            UserError: the fields do not make an example.
        """
        return ({name: section.suited(name, kind, fields) for name, kind in self.inputs.items()},
                {name: section.suited(name, kind, fields) for name, kind in self.targets.items()})

    def of_model(self, section: ModelSection) -> Task:
        """Return the task for one model: by default as it is."""
        return self

    # What must be written

    def fault(self, example: Mapping[str, Any]) -> str | None:
        """Return why the raw values of an example, by feature, do not go together; None where they do."""
        return None

    def dimensions(self, index: Index) -> dict[str, Any]:
        """Return what builders take before the `*`, for instance {"input_shape": (28, 28, 3), "classes": 10}."""
        raise NotImplementedError

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        """Return what a builder's model must give, by name: what ships, without auxiliary heads."""
        raise NotImplementedError

    def measure(self, index: Index) -> Measure:
        """Return a fresh measure."""
        raise NotImplementedError

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return a line per example: what the model says."""
        raise NotImplementedError

    def write_answers(self, files: Sequence[Path], outputs: Arrays, index: Index, folder: Path) -> None:
        """Write what a model says of files that are one example each into a folder. Raises UserError where there is
        nothing to draw."""
        raise UserError(f"predict: --out: there is nothing to draw of {self.entry_name}; leave it out")

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        """Return what the model does and how well, for the model card and the report."""
        raise NotImplementedError

    # What has a default

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the function of (inputs, targets, outputs) to each example's loss, (batch,): the sum over `pairs`.

        Losses on probabilities see the softmax of outputs whose role is logits, and any other output as it is.
        """
        return pairwise(loss, self.paired(index), self.pairs, index)

    def trained_objective(self, loss: Loss, index: Index, auxiliary: float = 0.0,
                          taught: Taught = lambda objective, outputs: objective) -> Objective:
        """Return what training makes small: the objective, and on each auxiliary head what the first paired output adds
        to it.

        Where several outputs are paired, that is the pairwise loss of the first alone, else the whole objective.

        Args:
            auxiliary: weight of each head, see `learners.auxiliary`.
            taught: adds a teacher's answers on some outputs to an objective, on those of heads too.
        """
        paired = self.paired(index)
        objective = taught(self.objective(loss, index), paired)
        if not auxiliary or not paired:
            return objective
        first, *others = paired
        alone = taught(pairwise(loss, [first], self.pairs, index), [first]) if others else objective
        return with_auxiliary(objective, first.name, auxiliary, alone)

    @final
    def paired(self, index: Index) -> list[Tensor]:
        """Return the outputs that are compared with targets, in the order of `pairs`."""
        tensors = {tensor.name: tensor for tensor in self.outputs(index)}
        return [tensors[output] for output in self.pairs]

    def with_head(self, model: keras.Model, loss: Loss, index: Index) -> keras.Model:
        """Return a model with what training alone needs, which does not ship: by default as it is."""
        return model

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        """Return, by the names of `watched`, functions of (targets, outputs) to one value per example, averaged over an
        epoch."""
        return {}

    def learner(self, library: Any) -> type:
        """Return the class of what is fitted, of keras or tf_keras."""
        return supervised(library)

    def finish(self, model: keras.Model, data: Data) -> list[str]:
        """Change weights that training does not reach before a model is written; return what was done, a line each."""
        return []

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what is measured: by default what the network gives. Decoding, sampling and suppression belong
        here."""
        return predictor.predict(inputs)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the signatures of the exported model, and what computes them.

        By default one from inputs to outputs, on a device in float32 where the inputs are raw bytes of pixels; on a
        server also `serving_bytes`, where an input is decoded from a file.
        """
        from export.keras_models import graph

        signature = self.signature(data.index, place)
        functions = [graph.function(model, signature)]
        encoded = [name for name in data.index.inputs if data.features[name].encoded]
        if place == "server" and encoded:
            functions.append(decoding(functions[0], data, encoded))
        return functions

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return training inputs that integers are calibrated with, by signature; `load` gives the trained model."""
        return [(DEFAULT, inputs)]

    def signature(self, index: Index, place: Place = "device") -> Signature:
        """Return the signature of what ships: on a device real numbers go in, on a server they keep the type of the
        data."""
        inputs = (tensor.model_copy(update={"dtype": "float32"}) if place == "device" and tensor.dtype == "uint8"
                  else tensor
                  for tensor in index.inputs.values())
        return Signature(inputs=tuple(inputs), outputs=self.outputs(index))

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw one example of a batch, by default its first input under its targets in words.

        Args:
            title: in place of the targets.
        """
        name = next(iter(data.index.inputs))
        data.features[name].draw(axes, inputs[name][position], data.index.learnt[name])
        words = (data.features[target].in_words(values[position], data.index.learnt[target]) for target,
                 values in targets.items())
        axes.set_title(", ".join(filter(None, words)) if title is None else title, fontsize=8)

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw the examples that the report shows, by default in a grid, each under its `title`."""
        drawn = functools.partial(self.draw, data=data, position=0)
        figures.grid([functools.partial(drawn, inputs=one.inputs, targets=one.targets, title=self.title(
            one.targets, one.outputs, 0, one.wrong, data)) for one in examples], path)

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        """Return what stands above one of the examples that the model is most wrong about."""
        return f"{wrong:.3g}"

    def decision(self, outputs: Arrays) -> np.ndarray | None:
        """Return one class or number per example, for drift; None where there is no such thing."""
        return None

    def decided(self, targets: Arrays) -> np.ndarray | None:
        """Return the `decision` that the targets are, where they are not that by themselves; None where none is."""
        return None

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        """Return what one example's answer, a batch of one, is called in a bundle's samples: {"class": "7"}."""
        return {}

    def labels(self, index: Index) -> list[str]:
        """Return the class names that the files, their metadata and labels.txt carry; none where the task has no
        classes."""
        return next((index.names(target) for target in index.targets if index.names(target)), [])

    def files(self, data: Data) -> Mapping[str, bytes]:
        """Return what a bundle has beside the models for an app to prepare their inputs, by file name."""
        return {}

    def compared(self, index: Index, given: Collection[str]) -> Compared:
        """Return how a file that gives these outputs is held against the trained model: by what the network gives."""
        return Compared(self.outputs(index))

    def post_processing(self, index: Index) -> PostProcessing | None:
        """Return what can stand behind the network in files for phones; None where nothing does."""
        return None

    def adopt(self, model: keras.Model, settings: Any) -> keras.Model:
        """Return a model made elsewhere as this task's models are. Raises ValueError where it is of another kind."""
        raise ValueError(f"models made elsewhere cannot be taken for {self.entry_name} so far")

    def adopt_graph(self, settings: Any, index: Index) -> bytes:
        """Return a model that is taken as a graph as a float32 file of this task's. Raises ValueError."""
        return graph_of_images(settings, str(self.entry_name), index)

    def serve_graph(self, settings: Any, index: Index, folder: Path) -> None:
        """Write a model that is taken as a graph as a SavedModel into a folder, where this task's models can be one."""

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]] | None:
        """Return the examples in a user's file that holds several: what each is called, and the inputs; None where a
        file is one example. Raises UserError.

        Args:
            like: the source that the model learnt from, where it is known.
        """
        return examples_in(path, features, index, like)

    def seconds(self, index: Index) -> float | None:
        """Return how long what an example is of lasts, of sound for instance; None where that is not known."""
        return None

    def notes(self, data: Data) -> list[str]:
        """Return what is worth knowing of the data as ingest divided them, a line each."""
        return []

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the trained model's evaluation with what no artifact is measured by: baselines, further tables and
        figures, drawn into a folder. By default it is as it is."""
        return evaluation

    @final
    def evaluate(self, predictor: Predictor, batches: Iterable[tuple[Arrays, Arrays]], index: Index,
                 folder: Path | None = None,
                 see: Callable[[Arrays, Arrays, Arrays, np.ndarray], None] = lambda inputs, targets, outputs,
                 wrong: None) -> Evaluation:
        """Return what a predictor is worth: answer, add, result.

        Args:
            batches: of inputs and targets.
            folder: for figures.
            see: called for each batch with inputs, targets, what the network itself gives, and how wrong each example
                is.
        """
        measure = self.measure(index)
        answers_itself = type(self).answer is Task.answer
        for inputs, targets in batches:
            answers = self.answer(predictor, inputs)
            wrong = measure.add(targets, answers)
            see(inputs, targets, answers if answers_itself else self._of_network(predictor, inputs, answers, index),
                wrong)
        return measure.result(folder)

    def _of_network(self, predictor: Predictor, inputs: Arrays, answers: Arrays, index: Index) -> Arrays:
        """Return what the network itself gives, or a file that gives something else: out of the answers where they have
        it."""
        names = [tensor.name for tensor in self.outputs(index)]
        given = [tensor.name for tensor in next(iter(predictor.signatures.values())).outputs]
        for wanted in (names, given):
            if all(name in answers for name in wanted):
                return {name: answers[name] for name in wanted}
        return predictor.predict(inputs)
