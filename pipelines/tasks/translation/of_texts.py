"""What is asked of a server's translator: texts to their translations, in one call."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature
from models.seq2seq import Parts
from pipelines.features.text import Text
from pipelines.features.tokenizers.tokenizer import END, PADDING, START
from pipelines.tasks.text_serving import TEXT, text_tensor, tokens_of
from pipelines.tasks.translation.driver import NEVER, PREVIOUS, SCORED, TOKENS

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The signature, and what it gives.
TRANSLATE, TRANSLATION = "translate", "translation"


def translate(parts: Parts, data: Data) -> Function:
    """Return the function from texts to translations, string (batch,) each: the likeliest token at each step, as
    `driver.greedy` takes it."""
    signature = Signature(name=TRANSLATE, inputs=(text_tensor(),),
                          outputs=(text_tensor(TRANSLATION, "the translation, UTF-8"),))
    written, learnt = data.features[PREVIOUS], data.index.learnt[PREVIOUS]
    assert isinstance(written, Text)
    length = written.length
    barred = np.zeros(len(learnt.names), np.float32)
    barred[NEVER] = -np.inf

    def call(**tensors: Any) -> dict[str, Any]:
        encoded = parts.encode(tokens_of(tensors[TEXT], data, TOKENS))
        fixed = {name: value for name, value in encoded.items() if name not in parts.states}
        count = tf.shape(tensors[TEXT])[0]

        def step(place: Any, token: Any, going: Any, states: Any, answer: Any) -> tuple[Any, ...]:
            given = parts.step(token, **fixed, **states)
            token = tf.argmax(given[SCORED] + barred, axis=-1, output_type=tf.int32)
            token = tf.where(going, token, PADDING)
            answer += token[:, None] * tf.one_hot(place, length, dtype=tf.int32)
            return place + 1, token, going & (token != END), {name: given[name] for name in parts.states}, answer

        begin = (tf.constant(0), tf.fill([count], START), tf.fill([count], True),
                 {name: encoded[name] for name in parts.states}, tf.zeros([count, length], tf.int32))
        *_, answer = tf.while_loop(lambda place, token, going, *_: (place < length) & tf.reduce_any(going), step, begin)
        return {TRANSLATION: written.texts(answer, learnt)}

    return Function(signature, call)
