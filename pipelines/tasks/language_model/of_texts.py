"""What is asked of a server's language model: to go on with texts, and how surprising texts are."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature, Tensor
from models.stepping import Stepping
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.tasks.language_model.steps import OUTPUT
from pipelines.tasks.text_serving import TEXT, text_tensor, tokens_of

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The signatures, and what they take beside texts and give.
GENERATE, SCORE, COUNT, GENERATED, BITS = "generate", "score", "count", "generated", "bits"
#: Tokens of a prompt that are looked at, and tokens that are added, at most: a server answers others too.
MOST = 4096


def generate(model: Stepping, data: Data, tokens: str) -> Function:
    """Return the function from prompts, string (batch,), and how many tokens are added to each, int32 (batch,), to the
    texts that begin so, string (batch,): with the likeliest token each time, as `steps.written` has it. What of a
    prompt the vocabulary lacks is read as unknown.

    Args:
        tokens: the name of what is read.
    """
    read, learnt = data.features[tokens], data.index.learnt[tokens]
    assert isinstance(read, RunningText)
    tokenizer, end = read.tokenizer, END if read.ends else -1
    signature = Signature(
        name=GENERATE, outputs=(text_tensor(GENERATED, "the text with what is added, UTF-8"),), inputs=(
            text_tensor(meaning=f"how a text begins, UTF-8; {MOST:,} tokens of it are read at most"),
            Tensor(name=COUNT, dtype="int32", shape=(), meaning=f"tokens that are added, at most {MOST:,}")))
    barred = np.zeros(len(learnt.names), np.float32)
    barred[[PADDING, UNKNOWN, START]] = -np.inf

    def call(**tensors: Any) -> dict[str, Any]:
        prompts = tf.map_fn(lambda one: tokenizer.tokens(one, learnt, MOST)[:MOST], tensors[TEXT],
                            fn_output_signature=tf.RaggedTensorSpec([None], tf.int32, 0))
        sizes = tf.cast(prompts.row_lengths(), tf.int32)
        last = sizes + tf.clip_by_value(tensors[COUNT], 0, MOST)
        total, rows = tf.reduce_max(tf.concat([last, [0]], axis=0)), tf.shape(sizes)[0]
        given = tf.pad(prompts.to_tensor(PADDING), [[0, 0], [0, 1]])

        def step(place: Any, token: Any, going: Any, states: Any, text: Any) -> tuple[Any, ...]:
            logits, after = model.call(token, states)
            best = tf.argmax(logits + barred, axis=-1, output_type=tf.int32)
            read_on = tf.gather(given, tf.minimum(place, tf.shape(given)[1] - 1), axis=1)
            is_prompt = place < sizes
            going &= is_prompt | ((best != end) & (place < last))
            token = tf.where(is_prompt, read_on, tf.where(going, best, PADDING))
            text += token[:, None] * tf.one_hot(place, total, dtype=tf.int32)
            return place + 1, token, going, after, text

        begin = (tf.constant(0), tf.fill([rows], START), tf.fill([rows], True),
                 [tf.zeros([rows, size]) for size in model.states], tf.zeros([rows, total], tf.int32))
        *_, text = tf.while_loop(lambda place, token, going, *_: (place < total) & tf.reduce_any(going), step, begin)
        return {GENERATED: read.texts(text, learnt)}

    return Function(signature, call)


def score(whole: Function, data: Data, read: str, follows: str) -> Function:
    """Return the function from texts, string (batch,), to the bits of their tokens, float32 (batch,), and how many
    these are, int32 (batch,): of as much as fits into the model's length.

    Args:
        whole: from the tokens that are read to logits.
        read, follows: the names of what is read and of what follows.
    """
    signature = Signature(name=SCORE, inputs=(text_tensor(),), outputs=(
        Tensor(name=BITS, dtype="float32", shape=(), role="values", meaning="of all tokens together"),
        Tensor(name=COUNT, dtype="int32", shape=(), role="length", meaning="tokens")))

    def call(**tensors: Any) -> dict[str, Any]:
        logits = whole.call(**{read: tokens_of(tensors[TEXT], data, read)})[OUTPUT]
        tokens = tokens_of(tensors[TEXT], data, follows)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens, logits)
        there = tokens != PADDING
        return {BITS: tf.reduce_sum(tf.where(there, losses, 0), axis=1) / math.log(2),
                COUNT: tf.reduce_sum(tf.cast(there, tf.int32), axis=1)}

    return Function(signature, call)
