"""A served language model with what it has read kept, against one that reads all again for each token.

    python benchmarks/generation.py
    python benchmarks/generation.py --tokens 256 --batches 1 8 --builder gpt

A Transformer with random weights and a vocabulary of 2,000 characters goes on with a text, greedily, inside the graph
of a SavedModel, in a session as servers hold it: by the signature `generate`, and by a loop around the usual signature.
Both must add the same tokens. `sample` draws them, and `decode` hands on each token.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich import print as say
from rich.table import Table

import models
from export.keras_models import graph
from export.signature import Function, Signature, Tensor
from pipelines.features.tokenizers.tokenizer import START
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.language_model import LanguageModel, generation
from serving.flags import Options
from serving.servable import SavedModelServable

#: The loop around the usual signature, and what it takes and gives.
AGAIN, TOKENS, SIZE = "again", "tokens", "size"
PROMPT = 16
FIRST = 0x4E00
#: The goal: tokens a second with what was read kept, against all read again.
FASTER = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builder", default="llama", choices=("gpt", "llama"))
    parser.add_argument("--tokens", type=int, default=256, help="that are added (default: 256)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="texts at once (default: 1 8)")
    parser.add_argument("--vocabulary", type=int, default=2000, help="characters (default: 2,000)")
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest counts (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data_of(folder, options.vocabulary, PROMPT + options.tokens)
        keras.utils.set_random_seed(0)
        model = models.build(options.builder, **data.task.dimensions(data.index), depth=4, units=128, heads=4)
        kept = generation.Generation(model, data, TOKENS)
        functions = [*kept.functions(), Function(signature(kept.length), lambda **given: again(model, kept, **given))]
        graph.write(model, folder / "1", functions, None)
        servable = SavedModelServable(folder / "1", Options())
        slower = measured(servable, data, kept, options)
    say(f"{model.count_params():,} parameters, {options.builder}, {options.tokens} tokens behind {PROMPT}")
    sys.exit(int(slower < FASTER))


def data_of(folder: Path, vocabulary: int, length: int) -> Data:
    """Return data whose texts have so many different characters."""
    text = "".join(chr(FIRST + number) for number in range(vocabulary))
    (folder / "lines.txt").write_text("\n".join(text[start:start + 100] for start in range(0, len(text), 100)) * 3)
    section = DataSection.model_validate({
        "source": {"text_lines": {"path": str(folder / "lines.txt")}},
        "tokens": {"tokenizer": {"character": {"most": vocabulary}}, "length": length}})
    task = LanguageModel()
    section.fill(task.data_settings)
    section.source.prepare()
    return Data(section, task, build_index(section, task, 0), 0)


def signature(length: int) -> Signature:
    """Return what the loop takes, texts of which the prompt is there, and gives."""
    tokens = Tensor(name=TOKENS, dtype="int32", shape=(length + 1,), role="tokens")
    size = Tensor(name=SIZE, dtype="int32", shape=(), role="length")
    return Signature(name=AGAIN, inputs=(tokens, size), outputs=(tokens,))


def again(model: Any, kept: generation.Generation, tokens: Any, size: Any) -> dict[str, Any]:
    """Return texts that are full, each token by reading all before it once more."""
    rows = tf.range(tf.shape(size)[0])

    def step(tokens: Any, size: Any) -> tuple[Any, ...]:
        logits = model(tokens[:, :kept.length], training=False)["logits"]
        token = tf.argmax(tf.gather(logits, size - 1, batch_dims=1) + kept.barred, axis=-1, output_type=tf.int32)
        return tf.tensor_scatter_nd_update(tokens, tf.stack([rows, size], axis=1), token), size + 1

    return {TOKENS: tf.while_loop(lambda _, size: tf.reduce_all(size <= kept.length), step, (tokens, size))[0]}


def measured(servable: SavedModelServable, data: Data, kept: generation.Generation, options: Any) -> float:
    """Print tokens a second, and return by how much `generate` is faster, at least."""
    table = Table("texts at once", "all read again, tokens/s", "generate", "times", "sample", "decode, token by token")
    ratios = []
    for batch in options.batches:
        rng = np.random.default_rng(batch)
        names = data.index.learnt[TOKENS].names
        own = rng.integers(4, len(names), (batch, PROMPT))
        prompts = np.array(["".join(names[token] for token in row).encode() for row in own], object)
        count = np.full(batch, options.tokens, np.int32)
        rows = np.zeros((batch, kept.length + 1), np.int32)
        rows[:, 0], rows[:, 1:PROMPT + 1] = START, own
        given = {"text": prompts, "count": count}
        settings = {"temperature": np.ones(batch, np.float32), "top_k": np.full(batch, 40, np.int32),
                    "top_p": np.full(batch, 0.95, np.float32), "seed": np.arange(batch)}
        def read_again(size: int, rows: Any = rows, batch: int = batch) -> Any:
            return servable.run(AGAIN, {TOKENS: rows, SIZE: np.full(batch, size, np.int32)}, [TOKENS])

        read_again(kept.length)  # a single token, for the graph to be made ready
        calls: list[Callable[[], Any]] = [
            lambda given=given: servable.run(generation.GENERATE, given, [generation.GENERATED]),
            lambda given=given, settings=settings: servable.run(generation.SAMPLE, {**given, **settings},
                                                                [generation.GENERATED]),
            lambda given=given, settings=settings: token_by_token(servable, given, settings, options.tokens)]
        fast, *_ = [call() for call in calls]
        start = time.perf_counter()
        slow = read_again(PROMPT + 1)
        speeds = [batch * options.tokens / (time.perf_counter() - start)]
        texts = kept.feature.texts(tf.constant(slow[TOKENS]), kept.learnt).numpy()
        if texts.tolist() != fast[generation.GENERATED].tolist():
            sys.exit("generate and reading all again add different tokens")
        speeds += [batch * options.tokens / min(seconds(call) for _ in range(options.runs)) for call in calls]
        ratios.append(speeds[1] / speeds[0])
        table.add_row(str(batch), *(f"{value:,.0f}" for value in speeds[:2]), f"{ratios[-1]:.1f}",
                      *(f"{value:,.0f}" for value in speeds[2:]))
    say(table)
    return min(ratios)


def token_by_token(servable: SavedModelServable, given: Any, settings: Any, count: int) -> None:
    """Go on with texts as a stream does, with what was read handed out and in for each token."""
    decode = servable.signatures[generation.DECODE]
    states = [name for name in decode.inputs if name in servable.signatures[generation.PREFILL].outputs]
    after = servable.run(generation.PREFILL, {"text": given["text"]}, states)
    steps = np.ones(len(given["text"]), np.int32)
    for _ in range(count):
        inputs = {**{name: after[name] for name in states}, **settings, "count": given["count"], "steps": steps}
        after = servable.run(generation.DECODE, inputs, [*states, generation.ADDED])


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
