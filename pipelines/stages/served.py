"""Serves a SavedModel with the embedded server and asks it over both protocols, as an app's backend would."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.predictors import Predictor
from export.signature import DEFAULT, Arrays, Signature
from pipelines.ingest.data import Data
from pipelines.stages.sending import Sending

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from serving.client import RestClient

#: Over gRPC examples go as tensors; over REST those that are files go as files that lose nothing, where the model takes
#: such.
BYTES_SIGNATURE = "serving_bytes"
#: Bytes of outputs that are asked over a protocol, about: as JSON a number takes several times its own.
OUTPUT_BYTES = {"grpc": 2**30, "rest": 64 * 2**20}
#: Calls of a network that are asked over a protocol, where an answer takes several, as pictures made step by step do.
CALLS = 8000
#: Seconds that a call may take: states of many examples are long in JSON, and others may use this machine, too.
DEADLINE = 300.0


class _Encoding:
    """A REST client that is given examples and sends files."""

    def __init__(self, client: RestClient, data: Data):
        self.client = client
        self.data = data
        self.signatures: Mapping[str, Signature] = client.signatures

    def predict(self, inputs: Arrays, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        sent = dict(self._encoded(name, values) for name, values in inputs.items())
        return self.client.predict(sent)

    def prepared(self, inputs: Arrays, signature: str = DEFAULT) -> Callable[[], object]:
        return lambda: self.predict(inputs)

    def _encoded(self, name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
        feature = self.data.features[name]
        if not feature.encoded:
            return name, values
        files = np.empty(len(values), object)
        files[:] = [feature.encode(value)[1] for value in values]  # type: ignore[index]
        return f"{name}_bytes", files


def examples_over(protocol: str, data: Data) -> int:
    """Return how many of the first test examples are asked over a protocol: all, but fewer where outputs are dense
    or take many calls.

    Args:
        protocol: grpc or rest.
    """
    dense = [tensor for tensor in data.task.outputs(data.index)
             if tensor.role not in ("logits", "scores") or len(tensor.shape) > 1]  # one number a class is not
    examples, calls = data.index.splits["test"].examples, data.task.calls
    if calls > 1:
        examples = min(examples, max(1, CALLS // calls))
    size = sum(tensor.bytes for tensor in dense)
    if any(tensor.role == "state" for tensor in dense):  # they go to and fro with each token that is written
        size *= max(tensor.shape[0] or 1 for tensor in data.index.targets.values() if tensor.shape)
    return min(examples, max(1, OUTPUT_BYTES[protocol] // size)) if size else examples


def predictors(versions: Path, name: str, data: Data) -> Iterator[tuple[str, Predictor]]:
    """Serve a folder of numbered versions; yield a protocol and a predictor over it, one after the other."""
    from serving.client import GrpcClient, RestClient
    from serving.embedded import serving

    with serving(versions, name, DEADLINE) as running:
        with GrpcClient(running.grpc, name, deadline=DEADLINE) as client:
            yield "grpc", Sending(client, data)
        if any(data.features[one].encoded for one in data.index.inputs):
            with RestClient(running.rest, name, signature=BYTES_SIGNATURE, deadline=DEADLINE) as rest:
                yield "rest", _Encoding(rest, data)
        else:
            with RestClient(running.rest, name, deadline=DEADLINE) as rest:
                yield "rest", Sending(rest, data)
