"""What is made of the images of a batch one after the other, where all at once would take too much memory."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

#: So many pairs of a box and a place may an image have whose batch is computed at once, which is faster: a number for
#: each pair of 32 images then takes 64 MiB.
AT_ONCE = 2**19


def image_by_image(function: Callable[..., tuple[Any, ...]], given: Sequence[Any], kinds: Sequence[tf.DType],
                   pairs: int) -> tuple[Any, ...]:
    """Return what a function makes of a batch, in as much memory as it takes for one image where images are large.

    Args:
        function: from tensors (batch, …) to tensors (batch, …). What it makes of an image must not depend on others.
            What it is given and what it returns is not learnt through.
        given: its arguments.
        kinds: of the numbers that it returns.
        pairs: of a box and a place that the function looks at in one image.
    """
    given = tuple(tf.stop_gradient(part) for part in given)
    if pairs <= AT_ONCE:
        return function(*given)

    def of_one(image: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(part[0] for part in function(*(part[None] for part in image)))

    return tuple(tf.map_fn(of_one, given, fn_output_signature=tuple(kinds), parallel_iterations=1))
