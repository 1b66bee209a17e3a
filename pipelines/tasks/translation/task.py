"""Translation: from a text to another that says the same, by an encoder and a decoder."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, PrivateAttr

import models
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models import translators
from pipelines.features.feature import Field as SourceField
from pipelines.features.running_text import NextTokens
from pipelines.features.text import Text
from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.features.translated_text import SourceText, TargetText
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files
from pipelines.tasks.compared import Compared
from pipelines.tasks.language_model.task import bits_per_token
from pipelines.tasks.raw_texts import Originals, texts
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.tasks.translation import driver, of_texts, signatures
from pipelines.tasks.translation.driver import PREVIOUS, TOKENS
from pipelines.tasks.translation.measure import Translations, metrics
from pipelines.training.model_section import FILE, ModelSection

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

NEXT, ANSWER, COPY = "next", "answer", "copy_source"
#: What a bundle calls how translations are cut; tokenizer.json is of the texts that are read.
TARGET_TOKENIZER = "target_tokenizer.json"


class Translation(Task, name="translation"):
    """From a text to another that says the same.

    It learns with the true translation so far before its eyes (teacher forcing); files encode a text by their usual
    signature, and a driver writes the translation token by token by `decode_step`.

    Args:
        beam: texts that a beam search follows; 0 takes the likeliest token each time.
    """

    inputs, targets = {TOKENS: SourceText, PREVIOUS: TargetText}, {NEXT: NextTokens}
    pairs, split = {driver.SCORED: NEXT}, "random"
    metrics = (Metric(name="chrf", label="chrF"), Metric(name="bleu", label="BLEU"))
    watched = (Metric(name="bits_per_token", label="bits per token", better="lower"),)
    baselines = (COPY,)
    ranked = True
    worst_caption = "The best, the median and the worst test texts by their chrF"
    beam: int = Field(0, ge=0, le=100)
    _settings: dict[str, Any] = PrivateAttr(default_factory=lambda: models.builder("seq2seq").settled({}))
    _written: TargetText | None = PrivateAttr(None)
    _source: Source | None = PrivateAttr(None)

    def of_model(self, section: ModelSection) -> Translation:
        task = self.model_copy()
        if section.builder != FILE:
            task._settings = models.builder(section.builder).settled(section.model_extra or {})
        return task

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return what is read and what is written; the task takes note of how translations are cut, and where they
        are."""
        inputs, targets = super().features_of(section, fields)
        written = inputs[PREVIOUS]
        assert isinstance(written, TargetText)
        self._written, self._source = written, section.source
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.names(TOKENS)),
                "target_length": index.inputs[PREVIOUS].shape[0], "target_vocabulary": len(index.names(NEXT))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        """Return what a model gives: what follows each true token, and what its encoder hands on."""
        logits = Tensor(name=driver.SCORED, dtype="float32", role="logits",
                        shape=(index.inputs[PREVIOUS].shape[0], len(index.names(NEXT))),
                        meaning="at each step one per token of the translation's vocabulary")
        return (logits, *self._handed_on(index))

    def _handed_on(self, index: Index) -> tuple[Tensor, ...]:
        shapes = translators.handed_on(self._settings, index.inputs[TOKENS].shape[0])
        return tuple(Tensor(name=name, dtype="float32", shape=shape, role="state", meaning="for decode_step")
                     for name, shape in shapes.items())

    def signature(self, index: Index, place: Place = "device") -> Signature:
        """Return the signature that is asked first: that of the encoder."""
        return Signature(inputs=(index.inputs[TOKENS],), outputs=self._handed_on(index))

    def compared(self, index: Index, given: Any) -> Compared:
        """Return that files are held against the model by what the encoder hands on."""
        return Compared(self._handed_on(index))

    def labels(self, index: Index) -> list[str]:
        """Return nothing: the vocabularies are in files of their own."""
        return []

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"bits_per_token": bits_per_token}

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the tokens of the translation of each text, (batch, length)."""
        assert self._written is not None
        length = self._written.length
        one = driver.decoder(predictor, length)
        return {ANSWER: driver.beam(one, inputs, length, self.beam) if self.beam > 1
                else driver.greedy(one, inputs, length)}

    def _of_network(self, predictor: Predictor, inputs: Arrays, answers: Arrays, index: Index) -> Arrays:
        """Return what the encoder hands on; of a model in one piece, all that it gives."""
        asked = {TOKENS: inputs[TOKENS]} if driver.STEP in predictor.signatures else inputs
        return predictor.predict(asked)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the encoder and `decode_step`; on a server the encoder as `encode` too, and `translate`, from texts to
        texts."""
        parts = translators.parts(model)
        functions = signatures.functions(parts, data.index.inputs[TOKENS], len(data.index.names(NEXT)),
                                         named=place == "server")
        return functions if place == "device" else [*functions, of_texts.translate(parts, data)]

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return training texts for the encoder, and the steps of their true translations for the decoder."""
        encoder = {TOKENS: inputs[TOKENS]}
        steps = signatures.trajectories(translators.parts(load()), inputs[TOKENS], inputs[PREVIOUS])
        return [(DEFAULT, encoder), (driver.STEP, steps)]

    def measure(self, index: Index) -> Translations:
        written, learnt = self._written, index.learnt[NEXT]
        assert written is not None and self._source is not None
        originals = Originals(self._source, index, written.field_name(NEXT),
                              lambda text: written.following(text, learnt))
        return Translations(NEXT, ANSWER, lambda tokens: written.in_words(tokens, learnt), originals.of)

    def notes(self, data: Data) -> list[str]:
        return [*text_files.notes(data, TOKENS), *text_files.notes(data, PREVIOUS)]

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what the source itself would be worth as its translation."""
        copied, expected = (list(texts(data, "test", name)) for name in (TOKENS, NEXT))
        return evaluation.model_copy(update={"baselines": {COPY: metrics(copied, expected)}})

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        titles, rows = text_files.rows(path, {TOKENS: features[TOKENS]}, index, like)
        length = index.inputs[PREVIOUS].shape[0]
        return titles, {**rows, PREVIOUS: np.full((len(titles), length or 1), PADDING, np.int32)}

    def files(self, data: Data) -> Mapping[str, bytes]:
        files = text_files.shipped(data, TOKENS)
        written = text_files.shipped(data, PREVIOUS)[text_files.TOKENIZER]
        return {**files, TARGET_TOKENIZER: written}

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return the translations."""
        text = self.measure(index).text
        return [text(row) for row in outputs[ANSWER]]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It translates short texts; on the held-out test texts chrF is {known['chrf']:.1f} and BLEU "
                f"{known['bleu']:.1f}, of 100.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        feature, learnt = data.features[NEXT], data.index.learnt[NEXT]
        assert isinstance(feature, Text)
        return f"chrF {100 * (1 - wrong):.0f}: {feature.in_words(targets[NEXT][position], learnt)[:40]}"
