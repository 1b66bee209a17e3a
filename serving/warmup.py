"""Warm-up: recorded requests in a SavedModel's assets.extra, sent to a version before it answers anybody else."""
from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import examples, request_log, servable, tensors
from serving.errors import invalid
from serving.servable import Servable

#: Where TF Serving looks, below the version's folder.
PLACE = Path("assets.extra") / "tf_serving_warmup_requests"
#: As many records as TF Serving reads.
MOST = 1000


def replay(folder: Path, loaded: Servable, times: int) -> int:
    """Send a version its warm-up requests; how many there are.

    Raises:
        ServingError: the file is broken, or a request of it fails: such a version is not served.
    """
    if not (folder / PLACE).is_file():
        return 0
    count = 0
    try:
        for log in request_log.read(folder / PLACE):
            count += 1
            if count > MOST:
                raise invalid(f"Number of warmup records exceeds the maximum ({MOST}) at {PLACE}")
            for _ in range(times):
                _send(log, loaded)
    except ValueError as error:
        raise invalid(f"Failed to read warmup record from {PLACE}: {error}") from error
    return count


def _send(log: prediction_log_pb2.PredictionLog, loaded: Servable) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        name = request.model_spec.signature_name or servable.DEFAULT
        inputs = {key: tensors.to_array(value, key) for key, value in request.inputs.items()}
        signature = servable.signature_of(loaded, name)
        servable.check_inputs(loaded, signature, inputs)
        loaded.run(name, inputs, list(request.output_filter) or sorted(signature.outputs))
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        name = request.model_spec.signature_name or servable.DEFAULT
        signature = servable.signature_of(loaded, name)
        method = examples.CLASSIFY if kind == "classify_log" else examples.REGRESS
        loaded.run(name, {examples.INPUTS: examples.serialized(request.input)},
                   examples.check(signature, name, method, False))
    elif kind != "multi_inference_log":
        raise invalid(f"Unsupported log_type for warmup: {kind}")


def records(requests: Iterable[prediction_log_pb2.PredictionLog]) -> bytes:
    """Warm-up requests as the file that holds them. Raises ServingError where there are more than TF Serving reads."""
    result = [one.SerializeToString(deterministic=True) for one in requests]
    if len(result) > MOST:
        raise invalid(f"{len(result)} warm-up requests; TF Serving reads {MOST}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PLACE.name
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in result:
                writer.write(record)
        return path.read_bytes()
