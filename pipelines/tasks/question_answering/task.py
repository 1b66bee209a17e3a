"""Extractive question answering: which stretch of a text answers a question."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, PrivateAttr

from export.signature import Arrays, Function, Tensor
from pipelines.errors import UserError
from pipelines.features.feature import Field as SourceField
from pipelines.features.question import ASKED, SEPARATOR, Answer, Question
from pipelines.features.text import Text
from pipelines.ingest.index import Index, Part
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.questions import ANSWERS, NAME, Table, answers_of, table
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.squad import Squad, questions
from pipelines.tasks import text_files
from pipelines.tasks.question_answering import spans
from pipelines.tasks.question_answering.measure import Answers, Window
from pipelines.tasks.raw_texts import Originals
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.tasks.text_serving import SIGNATURE, text_tensor, tokens_of

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS, ANSWER, OUTPUT = "tokens", "answer", "logits"
#: What a server's signature of texts takes.
QUESTION, CONTEXT = "question", "context"


class QuestionAnswering(Task, name="question_answering"):
    """Which stretch of a text answers a question.

    A long text is read in windows, see `data.source`; its answer is that of the window where it scores best.

    Args:
        longest: tokens of an answer, at most.
        may_be_none: "no answer" is answered where that scores better: where some of the questions have none.
    """

    inputs, targets, pairs, split = {TOKENS: Question}, {ANSWER: Answer}, {OUTPUT: ANSWER}, "random"
    metrics = (Metric(name="f1", label="F1"), Metric(name="exact_match", label="exact match"))
    watched = (Metric(name="accuracy"),)
    ranked = True
    worst_caption = "The best, the median and the worst test questions by their F1"
    longest: int = Field(30, ge=1)
    may_be_none: bool = False
    _source: Source | None = PrivateAttr(None)
    _read: Question | None = PrivateAttr(None)
    #: Of the rows that were read and not yet answered: the names of their questions, and the texts.
    _rows: list[tuple[str, str]] = PrivateAttr(default_factory=list)

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return the features; the task takes note of where the texts are. Raises UserError where the source has no
        questions."""
        if missing := [name for name in (ASKED, ANSWERS, NAME) if name not in fields]:
            raise UserError(f"data.source: {section.source.entry_name} has no {missing[0]}; questions are in squad, "
                            "for files of your own, and in package_questions")
        inputs, targets = super().features_of(section, fields)
        read = inputs[TOKENS]
        assert isinstance(read, Question)
        self._source, self._read = section.source, read
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.names(TOKENS))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(2, index.inputs[TOKENS].shape[0]), role="logits",
                       meaning="one per token for being the answer's first, and one for being its last; the first "
                               "token, 0, for no answer"),)

    def labels(self, index: Index) -> list[str]:
        """Return nothing: the vocabulary is in tokenizer.json."""
        return []

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": _accuracy}

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the network gives, and the tokens that it was given."""
        return {**predictor.predict(inputs), TOKENS: np.asarray(inputs[TOKENS])}

    def measure(self, index: Index) -> Answers:
        known = _Known(self._source, index, self._tokens(index))

        def window(targets: Arrays, outputs: Arrays, row: int) -> Window:
            tokens = outputs[TOKENS][row]
            asked, expected, name = known.of(tokens)
            text, score = self._said(outputs[OUTPUT][row], tokens, asked, index)
            has_answer = not expected or bool(np.asarray(targets[ANSWER][row]).any())
            return Window(name, asked.partition(SEPARATOR)[0], expected, text, score, has_answer)

        return Answers(window, self.may_be_none)

    def _tokens(self, index: Index) -> Callable[[tf.Tensor], tf.Tensor]:
        read, learnt = self._read, index.learnt[TOKENS]
        assert read is not None
        return lambda text: read.decode(text, learnt)

    def _said(self, logits: np.ndarray, tokens: np.ndarray, asked: str, index: Index) -> tuple[str, float]:
        """Return the answer that scores best in a window, and its score."""
        span, read = spans.best(logits, tokens, self.longest), self._read
        assert read is not None
        return ("", -np.inf) if span is None else (
            spans.text_of(span, asked, tokens, read.tokenizer, index.learnt[TOKENS]), span.score)

    def notes(self, data: Data) -> list[str]:
        return text_files.notes(data, TOKENS)

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the questions of a file as a source of squad reads it, a row for each window."""
        window, stride = (like.window, like.stride) if isinstance(like, Squad) else (None, None)
        rows = table(path.name, questions(path), window, stride)
        tokens = [features[TOKENS].decode(tf.constant(text), index.learnt[TOKENS]).numpy()
                  for text in rows.columns[ASKED]]
        self._rows += [(f"{path} {name.decode()}", text.decode())
                       for name, text in zip(rows.columns[NAME], rows.columns[ASKED], strict=True)]
        return _titles(rows), {TOKENS: np.stack(tokens)}

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return the answers to the questions that `rows_of` has read since it was asked; of one in several windows, in
        the one where it scores best."""
        rows, self._rows = self._rows, []
        answers = zip(rows, outputs[OUTPUT], outputs[TOKENS], strict=True)
        said = [(name, *self._said(logits, tokens, asked, index)) for (name, asked), logits, tokens in answers]
        best = {name: max(score for other, _, score in said if other == name) for name, *_ in said}
        return ["no answer" if (self.may_be_none and best[name] < 0) or not text else
                text if score == best[name] else "no answer in this window" for name, text, score in said]

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of tokens and `serving_bytes` of questions and texts, to logits."""
        functions = super().functions(model, data, place)
        if place == "device":
            return functions
        main = functions[0]
        signature = main.signature.model_copy(update={
            "name": SIGNATURE, "inputs": (text_tensor(QUESTION, "question, UTF-8"), text_tensor(CONTEXT))})

        def call(**tensors: Any) -> dict[str, Any]:
            asked = tf.strings.join([tensors[QUESTION], tensors[CONTEXT]], SEPARATOR)
            return main.call(**{TOKENS: tokens_of(asked, data, TOKENS)})

        return [*functions, Function(signature, call)]

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It marks the answer to a question in a text; of the held-out test questions it answers "
                f"{known['exact_match']:.1f} % exactly, with an F1 of {known['f1']:.1f}, of 100.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        feature = data.features[TOKENS]
        assert isinstance(feature, Text)
        return f"F1 {1 - wrong:.2f}"


class _Known:
    """What is known of held-out windows beside their tokens: the text, the answers, and the question's name."""

    def __init__(self, source: Source | None, index: Index, tokens: Callable[[tf.Tensor], tf.Tensor]):
        assert source is not None
        self.source, self.index = source, index
        self.originals = Originals(source, index, ASKED, tokens)
        self._rows: dict[Part, list[tuple[str, list[str], str]]] = {}

    def of(self, tokens: np.ndarray) -> tuple[str, list[str], str]:
        """Return question and text, the answers that count, and the question's name: of others that have the same
        window, its own."""
        place = self.originals.place_of(tokens)
        assert place is not None, "measured are questions of the source"
        part, number = place
        if part not in self._rows:
            self._rows[part] = self._of(part)
        return self._rows[part][number]

    def _of(self, part: Part) -> list[tuple[str, list[str], str]]:
        split = self.index.splits[part]
        columns = [self.source.column(split.part, name, split.positions) for name in (ASKED, ANSWERS, NAME)]
        asked, answers, names = ([] if column is None else list(column) for column in columns)
        return [(text.decode(errors="replace"), right, name.decode())
                for text, right, name in zip(asked, answers_of(answers), names, strict=True)]


def _titles(rows: Table) -> list[str]:
    names = [name.decode() for name in rows.columns[NAME]]
    texts = [text.decode().partition(SEPARATOR)[0] for text in rows.columns[ASKED]]
    return [f"{text} (window {names[:place].count(name) + 1})" if names.count(name) > 1 else text
            for place, (name, text) in enumerate(zip(names, texts, strict=True))]


def _accuracy(targets: Any, outputs: Any) -> Any:
    """Return whether the first and the last token of each answer score best."""
    right = tf.equal(tf.argmax(targets[ANSWER], -1), tf.argmax(outputs[OUTPUT], -1))
    return tf.cast(tf.reduce_all(right, axis=-1), tf.float32)
