"""What a generator made before: judges that see it too do not only follow its last step."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

#: How likely a picture goes into a history that is full, and an older one is shown in its place.
EXCHANGED = 0.5


def history(library: Any, size: int, shape: tuple[int, ...], name: str) -> Any:
    """Return the layer that keeps pictures (Shrivastava et al., "Learning from Simulated and Unsupervised Images
    through Adversarial Training", 2017, section 2.3, as in CycleGAN, section 4): while there is room each picture goes
    in and is shown; then half of them are exchanged for one that was kept, any of them.

    Its pictures, and how many there are, are weights that are not trained: they are in checkpoints, so that a training
    goes on with what it would have had. Of several devices the first one's pictures are kept.

    Args:
        library: keras or tf_keras.
        size: pictures that are kept.
        shape: of one, (height, width, channels).
    """
    of_first = "only_first_replica" if library.__name__ == "keras" else tf.VariableAggregation.ONLY_FIRST_REPLICA

    class History(library.layers.Layer):
        """Pictures that were made before."""

        def __init__(self) -> None:
            super().__init__(name=name, dtype="float32")
            kept = {"initializer": "zeros", "trainable": False, "aggregation": of_first}
            self.images = self.add_weight(name="images", shape=(size, *shape), dtype="float32", **kept)
            self.filled = self.add_weight(name="filled", shape=(), dtype="int32", **kept)
            self.built = True

        def exchange(self, made: Any, seed: Any) -> Any:
            """Return as many pictures as there are in a batch, some of them older ones, and keep of the batch what goes
            in.

            Args:
                made: (batch, height, width, channels); of more than are kept the first take part.
                seed: int32 (2,).
            """
            count = tf.minimum(tf.shape(made)[0], size)
            some, rest = tf.cast(made[:count], tf.float32), made[count:]
            filled = tf.convert_to_tensor(self.filled)
            numbers = filled + tf.range(count)
            is_new = numbers < size
            kept = _changed(tf.convert_to_tensor(self.images), some, tf.minimum(numbers, size - 1), is_new)
            # of one batch each exchanges another place
            places = tf.argsort(tf.random.stateless_uniform([size], seed, alg="philox"))[:count]
            chances = tf.random.stateless_uniform([count], seed + 1, alg="philox")
            goes = ~is_new & (chances < EXCHANGED)
            shown = tf.where(goes[:, None, None, None], tf.gather(kept, places), some)
            self.images.assign(_changed(kept, some, places, goes))
            self.filled.assign(tf.minimum(filled + count, size))
            return tf.concat([tf.cast(shown, made.dtype), rest], axis=0)

    return History()


def _changed(images: Any, others: Any, places: Any, chosen: Any) -> Any:
    """Return images with some of others in their places."""
    rows = tf.boolean_mask(places, chosen)
    return tf.tensor_scatter_nd_update(images, rows[:, None], tf.boolean_mask(others, chosen))
