"""A sample of the requests and answers, in TF Serving's own form: PredictionLog messages in TFRecord files.

What and how much is logged is said in a model's configuration:

    logging_config {
      log_collector_config { type: "tfrecord" filename_prefix: "/var/log/serving/digits" }
      sampling_config { sampling_rate: 0.01 }
    }
"""
from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import invalid

log = logging.getLogger("litepress.serving")
TYPE = "tfrecord"
#: Records that may wait to be written; more are dropped, so that a slow disk costs no memory.
WAITING = 1000


def read(path: Path) -> Iterator[Any]:
    """Yield the PredictionLog messages of a TFRecord file. Raises ValueError where it is none."""
    import tensorflow as tf

    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError) as error:
        raise ValueError(f"{path.name} is not a log of requests: {str(error).splitlines()[0][:150]}") from error
    if not count and path.stat().st_size:
        # which TensorFlow takes for its end
        raise ValueError(f"{path.name} is not a log of requests: there is no record in it")


class RequestLog:
    """Writes sampled requests in a thread of its own."""

    def __init__(self) -> None:
        self._configs: dict[str, Any] = {}
        self._queue: queue.Queue = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self.dropped = 0

    @staticmethod
    def check(config: Any) -> None:
        """Raise ServingError where logging is asked for that cannot be had."""
        for one in config.model_config_list.config:
            if not one.HasField("logging_config"):
                continue
            collector, rate = one.logging_config.log_collector_config, one.logging_config.sampling_config.sampling_rate
            if collector.type != TYPE:
                raise invalid(f"Cannot find LogCollector::Factory for type: {collector.type}. Here it is {TYPE}")
            if not 0 <= rate <= 1:
                raise invalid(f"model {one.name}: sampling_rate is {rate}; give 0 to 1")
            if not Path(collector.filename_prefix).parent.is_dir() or not collector.filename_prefix:
                raise invalid(f"model {one.name}: filename_prefix {collector.filename_prefix!r} is in no folder")

    def configure(self, config: Any) -> None:
        """Log what a checked ModelServerConfig says from now on."""
        self._configs = {one.name: one.logging_config for one in config.model_config_list.config
                         if one.HasField("logging_config") and one.logging_config.sampling_config.sampling_rate > 0}
        if self._configs and self._thread is None:
            self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
            self._thread.start()

    def covers(self, model: str) -> bool:
        """Return whether requests to a model may be logged."""
        return model in self._configs

    def predict(self, request: Any, response: Any) -> None:
        """Log a Predict call, if the dice say so."""
        self._sample("predict_log", request.model_spec, request, response)

    def classify(self, request: Any, response: Any) -> None:
        """Log a Classify call."""
        self._sample("classify_log", request.model_spec, request, response)

    def regress(self, request: Any, response: Any) -> None:
        """Log a Regress call."""
        self._sample("regress_log", request.model_spec, request, response)

    def multi_inference(self, request: Any, response: Any) -> None:
        """Log a MultiInference call."""
        if request.tasks:
            self._sample("multi_inference_log", request.tasks[0].model_spec, request, response)

    def _sample(self, kind: str, spec: Any, request: Any, response: Any) -> None:
        config = self._configs.get(spec.name)
        if config is None or random.random() >= config.sampling_config.sampling_rate:
            return
        record = prediction_log_pb2.PredictionLog()
        record.log_metadata.model_spec.CopyFrom(spec)
        record.log_metadata.sampling_config.CopyFrom(config.sampling_config)
        getattr(record, kind).request.CopyFrom(request)
        getattr(record, kind).response.CopyFrom(response)
        try:
            self._queue.put_nowait((config.log_collector_config.filename_prefix, record))
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        import tensorflow as tf

        writers: dict[str, Any] = {}
        started = time.strftime("%Y%m%d-%H%M%S")
        while (item := self._queue.get()) is not None:
            prefix, record = item
            try:
                if prefix not in writers:
                    writers[prefix] = tf.io.TFRecordWriter(f"{prefix}.{started}.tfrecord")
                writers[prefix].write(record.SerializeToString())
                if self._queue.empty():
                    writers[prefix].flush()
            except (tf.errors.OpError, OSError) as error:
                log.error("the request log cannot be written: %s", str(error).splitlines()[0])
        for writer in writers.values():
            writer.close()

    def close(self) -> None:
        """Write what waits."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(10)
