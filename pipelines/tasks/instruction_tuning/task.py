"""Instruction tuning: a language model learns what to answer, and is measured by its answers."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import PrivateAttr

from export.signature import Arrays, Function
from export.targets.saved_model import CHAT_TEMPLATE
from pipelines.features.conversation import Answers, Conversation
from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.ingest.index import Index
from pipelines.tasks.evaluation import Evaluation, Metric
from pipelines.tasks.instruction_tuning import baselines, generation
from pipelines.tasks.instruction_tuning.measure import AnswerMeasure
from pipelines.tasks.language_model.task import NEXT, OUTPUT, TOKENS, LanguageModel
from pipelines.tasks.task import Place, Task
from pipelines.training.model_section import FILE, ModelSection

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data


class InstructionTuning(LanguageModel, name="instruction_tuning"):
    """A language model learns to answer: of a conversation it reads all, and learns and is asked the answers alone.

    `exact_match` is the share of answers that it gives word for word, saying the likeliest token each time.
    """

    inputs, targets = {TOKENS: Conversation}, {NEXT: Answers}
    split = "random"  # type: ignore[assignment]
    metrics = (  # type: ignore[assignment]
        Metric(name="exact_match", label="exact match"), Metric(name="accuracy", label="accuracy of tokens"),
        Metric(name="perplexity", better="lower", relative=True))
    baselines = baselines.NAMES  # type: ignore[assignment]
    worst_caption = "The best, the median and the worst test answers by their bits for each token"
    _section: ModelSection | None = PrivateAttr(None)

    def of_model(self, section: ModelSection) -> Task:
        task = self.model_copy()
        task._section = section
        return task

    def measure(self, index: Index) -> AnswerMeasure:  # type: ignore[override]
        return AnswerMeasure(OUTPUT, NEXT)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with the model that training started from, and the most frequent answer, beside."""
        beside = {baselines.MOST_FREQUENT: {"exact_match": round(baselines.most_frequent(data, NEXT), 6)}}
        section = self._section
        base = None if section is None or section.builder == FILE else baselines.base(
            section, self.dimensions(data.index))
        if base is not None:
            beside[baselines.BASE] = self.evaluate(base, data.batches("test"), data.index).metrics
        return evaluation.model_copy(update={"baselines": beside})

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the usual signature, and on a server those that answer."""
        functions = Task.functions(self, model, data, place)
        return functions + generation.functions(model, data, TOKENS) if place == "server" else functions

    def files(self, data: Data) -> Mapping[str, bytes]:
        """Return what cuts text, and the template of conversations."""
        read = data.features[TOKENS]
        assert isinstance(read, Conversation)
        return {**super().files(data), CHAT_TEMPLATE: read.jinja.encode()}

    def calibration(self, inputs: Arrays, load: Any) -> list[tuple[str, Arrays]]:
        return Task.calibration(self, inputs, load)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It answers questions; {known['exact_match']:.2%} of the held-out test answers are given word for "
                f"word, and the perplexity of their tokens is {known['perplexity']:.2f}.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        tokens = targets[NEXT][position]
        best = np.asarray(outputs[OUTPUT][position]).argmax(axis=-1)[tokens != PADDING]
        feature, learnt = data.features[NEXT], data.index.learnt[NEXT]
        return f"{wrong:.2f} bits: {feature.in_words(best, learnt)[:40]}"
