"""How the functions of a tf.data pipeline become graphs."""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

P = ParamSpec("P")
R = TypeVar("R")


def as_written(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that builds datasets, whose own functions are traced as they are written.

    AutoGraph, which would rewrite an `if` or a `for` over tensors, takes a second for a pipeline in each process, and
    nothing here has one: decoding and augmentation are operations of TensorFlow.
    """
    @functools.wraps(function)
    def build(*arguments: P.args, **settings: P.kwargs) -> R:
        return tf.autograph.experimental.do_not_convert(function)(*arguments, **settings)

    return build
