"""What a server is asked beside: `sample`, from seeds to pictures."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature, Tensor
from pipelines.tasks.image_generation.making import GENERATE, NOISE, asked_of
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED, TOKENS
from pipelines.tasks.text_serving import TEXT, text_tensor

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.index import Index

#: The signature, what it takes beside a class or a text, and what it gives; TF Serving sends as base64 in JSON what is
#: called bytes, and takes all else for text.
SAMPLE, SEED, COUNT, CLASS, IMAGES, PNG = "sample", "seed", "count", "label", "images", "png_bytes"
#: Pictures of one seed at most.
MOST = 1024


def generate(make: Callable[[Mapping[str, Any]], Any], index: Index) -> Function:
    """Return the function from noise, and a condition, to pictures.

    Args:
        make: see `sample`.
    """
    picture = Tensor(name=GENERATED, dtype="float32", shape=index.inputs["image"].shape, role="image",
                     meaning="pixels 0..255, to be rounded")
    signature = Signature(name=GENERATE, inputs=asked_of(index), outputs=(picture,))
    return Function(signature, lambda **tensors: {GENERATED: make(tensors)})


def sample(make: Callable[[Mapping[str, Any]], Any], index: Index, settings: Sequence[Tensor] = (),
           name: str = SAMPLE, tokens: Callable[[Any], Any] | None = None) -> Function:
    """Return the function from seeds to pictures, each the same as by `litepress sample` of that seed.

    A row of a request is a seed, how many pictures of it, and their class where one can be asked for; below 0 the
    classes come in turn. Or it has a text; an empty one asks for nothing. Rows with fewer pictures than another have
    black ones and empty files behind theirs.

    Args:
        make: from `noise`, and `condition` where one can be asked for, to pictures, 0..255.
        settings: what else it takes of each picture, and a row of a request has.
        name: of the signature.
        tokens: from texts to their tokens, of a model that is asked by text.
    """
    noise, shape = index.inputs[NOISE], index.inputs["image"].shape
    classes = index.inputs[CONDITION].shape[0] if CONDITION in index.inputs else None
    asked = [Tensor(name=SEED, dtype="int64", shape=(), meaning="of the noise, 0 to 2 ** 63 - 1"),
             Tensor(name=COUNT, dtype="int32", shape=(), meaning=f"pictures, 1 to {MOST}")]
    if classes is not None:
        asked.append(Tensor(name=CLASS, dtype="int32", shape=(),
                            meaning=f"of the class, 0 to {classes - 1}; below 0 all in turn"))
    if tokens is not None:
        asked.append(text_tensor(meaning="what the pictures show, UTF-8; nothing where it is empty"))
    signature = Signature(name=name, inputs=(*asked, *settings), outputs=(
        Tensor(name=IMAGES, dtype="uint8", shape=(None, *shape), role="image", meaning="pixels 0..255"),
        Tensor(name=PNG, dtype="string", shape=(None,), role="text", meaning="each picture as a PNG file")))

    def call(**tensors: Any) -> dict[str, Any]:
        counts, seeds = tensors[COUNT], tensors[SEED]
        tf.debugging.assert_greater_equal(counts, 1, f"count is 1 to {MOST}")
        tf.debugging.assert_less_equal(counts, MOST, f"count is 1 to {MOST}")
        tf.debugging.assert_non_negative(seeds, "seed is 0 to 2 ** 63 - 1")
        most, rows = tf.reduce_max(counts), tf.shape(seeds)[0]
        drawn = tf.map_fn(
            lambda seed: tf.random.stateless_normal([most, *noise.shape], tf.stack([seed, 0]), alg="philox"), seeds,
            fn_output_signature=tf.TensorSpec([None, *noise.shape], tf.float32))
        inputs = {NOISE: tf.reshape(drawn, [-1, *noise.shape])}
        numbers = tf.range(most)[None]
        if classes is not None:
            tf.debugging.assert_less(tensors[CLASS], classes, f"label is below {classes}")
            chosen = tf.where(tensors[CLASS][:, None] < 0, numbers % classes, tensors[CLASS][:, None])
            inputs[CONDITION] = tf.one_hot(tf.reshape(chosen, [-1]), classes)
        if tokens is not None:
            is_text = tf.cast(tensors[TEXT] != "", tf.int32)[:, None]  # of nothing there may be tokens of the ends
            inputs[TOKENS] = tf.repeat(tokens(tensors[TEXT]) * is_text, most, axis=0)
        for one in settings:
            inputs[one.name] = tf.repeat(tensors[one.name], most, axis=0)
        pictures = tf.cast(tf.round(tf.clip_by_value(make(inputs), 0, 255)), tf.uint8)
        files = tf.map_fn(tf.io.encode_png, pictures, fn_output_signature=tf.string)
        there = numbers < counts[:, None]
        images = tf.reshape(pictures, [rows, most, *shape])
        kept = images * tf.cast(there, tf.uint8)[..., None, None, None]
        return {IMAGES: kept, PNG: tf.where(there, tf.reshape(files, [rows, most]), "")}

    return Function(signature, call)
