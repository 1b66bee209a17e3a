"""Protocol buffer messages of TF Serving's configuration that `tensorflow-serving-api` leaves out, and its way with
text files.

The fields are those of TF Serving 2.21: session_bundle_config.proto, monitoring_config.proto, ssl_config.proto.
Configuration files hold them as text, so names and types matter, numbers do not.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from serving.errors import StartError

Kind = TypeVar("Kind", bound=Message)
_FIELD = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, dict[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value", "batch_timeout_micros": "Int64Value", "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value", "thread_pool_name": "StringValue", "allowed_batch_sizes": "int64*",
        "pad_variable_length_inputs": "bool", "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"}}


def _built() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="litepress/serving_config.proto", package="litepress.serving",
                                              syntax="proto3",
                                              dependency=["google/protobuf/wrappers.proto"])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            plain = kind.rstrip("*")
            added = message.field.add(name=field, number=number,
                                      label=_FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL)
            if plain in ("int64", "bool", "string"):
                added.type = getattr(_FIELD, f"TYPE_{plain.upper()}")
            else:
                added.type = _FIELD.TYPE_MESSAGE
                package = "google.protobuf" if plain.endswith("Value") else "litepress.serving"
                added.type_name = f".{package}.{plain}"
    pool = descriptor_pool.Default()
    assert wrappers_pb2  # its file is in the pool
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"litepress.serving.{name}"))
            for name in _MESSAGES}


_classes = _built()
BatchingParameters: Any = _classes["BatchingParameters"]
MonitoringConfig: Any = _classes["MonitoringConfig"]
SSLConfig: Any = _classes["SSLConfig"]


def read(path: Path, kind: type[Kind]) -> Kind:
    """Return the message that a text file holds.

    Raises:
        StartError: the file cannot be read, or is not such a message: with its line, and the field in the message of
            the parser.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        where = f"{error.GetLine()}:{error.GetColumn()}: " if error.GetLine() else ""
        message = str(error).split(" : ", 1)[-1].removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ")
        name = f"tensorflow.serving.{kind.DESCRIPTOR.name}"
        raise StartError(f"Error parsing text-format {name}: {where}{' '.join(message.split())} Invalid protobuf file: "
                         f"'{path}'") from error
