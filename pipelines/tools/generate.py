"""`litepress generate`: a language model goes on with a text."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.predictors import open_predictor
from export.targets.litert_lm import ENDING
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, PADDING, UNKNOWN
from pipelines.tasks.language_model import steps
from pipelines.tasks.language_model.task import TOKENS, LanguageModel
from pipelines.tools.predict import Asked, find_model

with epy.lazy_imports():
    import tensorflow as tf


def generate(artifact: Path, prompt: str = "", tokens: int = 200, temperature: float = 0.0, seed: int = 0) -> str:
    """Return a text that begins with a prompt and goes on as a language model has it.

    Args:
        artifact: as `predict.find_model` takes it.
        tokens: that are added, at most.
        temperature: 0 takes the likeliest token each time; the higher, the more daring.
        seed: of what is drawn.

    Raises:
        UserError: it is no language model, or the prompt is not UTF-8, has a token that the vocabulary lacks, or more
            tokens than a file takes that keeps what it has read.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"generate: --prompt is not UTF-8 (character {error.start}); give text in UTF-8") from None
    if tokens < 1:
        raise UserError(f"generate: --tokens is {tokens}; give at least 1")
    if temperature < 0:
        raise UserError(f"generate: --temperature is {temperature:g}; give 0, which takes the likeliest token, or more")
    asked = find_model(artifact)
    if not isinstance(asked.task, LanguageModel):
        raise UserError(f"generate: {artifact} is of {asked.task.entry_name}; give a language_model")
    if asked.path.suffix in (".tflite", ENDING):
        with workers.quiet():
            return continued(asked, prompt, tokens, temperature, seed)
    return workers.call(continued, asked, prompt, tokens, temperature, seed, what="generate")


def continued(asked: Asked, prompt: str, tokens: int, temperature: float, seed: int) -> str:
    """Return the prompt and what follows. Raises UserError; see `generate`."""
    feature, learnt = asked.features[TOKENS], asked.index.learnt[TOKENS]
    assert isinstance(feature, RunningText)
    read = feature.tokenizer.tokens(tf.constant(prompt), learnt, len(prompt) + 1).numpy().tolist()
    read = [token for token in read if token != PADDING]
    if UNKNOWN in read:
        what = prompt[read.index(UNKNOWN)] if len(read) == len(prompt) else "a word"
        raise UserError(f"generate: --prompt has {what!r}, which the training text lacks; leave it out")
    try:
        writer = steps.Writer(open_predictor(asked.path), TOKENS, feature.length)
    except ValueError as error:
        raise UserError(f"generate: {error}") from error
    if writer.room is not None and len(read) >= writer.room:
        raise UserError(f"generate: --prompt has {len(read)} tokens, and {asked.path} takes {writer.room} with the one "
                        "that stands before a text; give a shorter one, or a file that reads a whole text")
    added = steps.written(writer, read, tokens, temperature, seed, END if feature.ends else None)
    return feature.tokenizer.text([learnt.names[token] for token in (*read, *added)])
