"""What a served SavedModel is worth: the embedded server asked over both protocols, as an app's backend would ask it."""
from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy
from pydantic import BaseModel

from export.predictors import IMAGE, Predictor

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

if TYPE_CHECKING:
    from serving.client import RestClient


class Served(BaseModel):
    """What a model answers when it is asked through TF Serving's protocol, on the whole test set.

    Args:
        accuracy: a fraction.
        max_logit_error: the largest difference of a logit from the trained model's.
    """

    accuracy: float
    max_logit_error: float


#: Protocol to what it is called in tables.
PROTOCOLS = {"grpc": "gRPC", "rest": "REST"}
#: Over gRPC pictures go as tensors; over REST as PNG files, which lose nothing.
BYTES_SIGNATURE, BYTES = "serving_bytes", "image_bytes"


class _Pictures:
    """A REST client that is given pictures and sends PNG files."""

    def __init__(self, client: RestClient, shape: tuple[int, ...]):
        self.client, self.input_shape = client, shape

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        files = np.empty(len(inputs[IMAGE]), object)
        files[:] = [_png(image) for image in inputs[IMAGE]]
        return self.client.predict({BYTES: files})

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        return lambda: self.predict(inputs)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def predictors(versions: Path, name: str) -> Iterator[tuple[str, Predictor]]:
    """Serves a folder of numbered versions; yields a protocol and a predictor over it, one after the other."""
    from serving.client import GrpcClient, RestClient
    from serving.embedded import serving

    with serving(versions, name) as running:
        with GrpcClient(running.grpc, name) as client:
            yield "grpc", client  # type: ignore[misc]  # it takes any mapping
            shape = client.input_shape
        with RestClient(running.rest, name, signature=BYTES_SIGNATURE) as rest:
            yield "rest", _Pictures(rest, shape)
