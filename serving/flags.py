"""The flags of `tensorflow_model_server`: names, forms, defaults and errors (model_servers/main.cc, server.h of TF
Serving 2.21).

Those that mean nothing here are taken and said to have no effect, so that a command line written for the original works
unchanged. A few are this server's own; the original refuses them.
"""
from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Sequence
from typing import Any

from serving.errors import StartError

OWN, NO_EFFECT = "own", "no effect"


def _flag(default: Any, what: str, kind: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"what": what, "kind": kind})


@dataclasses.dataclass
class Options:
    """What the server was told on its command line."""

    port: int = _flag(8500, "TCP port to listen on for the gRPC API. Disabled if set to zero.")
    grpc_socket_path: str = _flag("", "If non-empty, listen to a UNIX socket for the gRPC API on this path.")
    rest_api_port: int = _flag(0, "Port to listen on for the HTTP/REST API. Not exported if zero. Must differ from "
                                  "--port.")
    rest_api_num_threads: int = _flag(4 * (os.cpu_count() or 1), "Requests of the HTTP/REST API that run at a time.")
    rest_api_timeout_in_ms: int = _flag(30000, "Timeout for HTTP/REST API calls.")
    rest_api_enable_cors_support: bool = _flag(False, "Enable CORS headers in responses.")
    enable_batching: bool = _flag(False, "Enable batching.")
    batching_parameters_file: str = _flag("", "If non-empty, a text BatchingParameters protobuf to use instead of the "
                                              "defaults.")
    enable_per_model_batching_parameters: bool = _flag(False, "Read batching_params.pbtxt of each SavedModel's folder "
                                                              "instead.")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "If true, allows assigning unused version labels to models that are not available yet.")
    model_config_file: str = _flag("", "If non-empty, a text ModelServerConfig protobuf; --model_name and "
                                       "--model_base_path are ignored.")
    model_config_file_poll_wait_seconds: int = _flag(0, "Seconds between looks at model_config_file. It is read once "
                                                        "if zero.")
    model_name: str = _flag("default", "Name of the model (ignored if --model_config_file is set).")
    model_base_path: str = _flag("", "Path to the versions (ignored if --model_config_file is set, otherwise "
                                     "required).")
    max_num_load_retries: int = _flag(5, "How often loading a model is tried again after the first failure.")
    load_retry_interval_micros: int = _flag(60_000_000, "Microseconds between two such tries.")
    file_system_poll_wait_seconds: int = _flag(1, "Seconds between looks for new versions. Zero: once. Negative: "
                                                  "never.")
    tensorflow_session_parallelism: int = _flag(0, "Threads to use for running a session. Auto-configured by default.")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads for one operator. Auto-configured by default.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operators that run at a time. Auto-configured by default.")
    ssl_config_file: str = _flag("", "If non-empty, a text SSLConfig protobuf: TLS for gRPC, and here for REST too.")
    saved_model_tags: str = _flag("serve", "Comma-separated tags of the graph to load from a SavedModel.")
    grpc_channel_arguments: str = _flag("", "Comma-separated arguments for the gRPC server, e.g. "
                                            "grpc.max_connection_age_ms=2000.")
    grpc_max_threads: int = _flag(4 * (os.cpu_count() or 1), "gRPC requests that run a model at a time.")
    enable_model_warmup: bool = _flag(True, "Replay assets.extra/tf_serving_warmup_requests when a version is loaded.")
    num_request_iterations_for_warmup: int = _flag(0, "How often each warm-up request is sent. Used only if positive.")
    version: bool = _flag(False, "Display the version.")
    monitoring_config_file: str = _flag("", "If non-empty, a text MonitoringConfig protobuf.")
    prefer_tflite_model: bool = _flag(False, "Prefer model.tflite in a version's folder to its saved_model.pb.")
    num_tflite_pools: int = _flag(1, "TFLite interpreter pools of a model.")
    num_tflite_interpreters_per_pool: int = _flag(os.cpu_count() or 1, "TFLite interpreters in a pool.")
    enable_signature_method_name_check: bool = _flag(False, "Check the method_name of signatures.")
    enable_profiler: bool = _flag(True, "Enable the profiler service.")

    num_load_threads: int = _flag(0, "Versions load beside requests anyway.", NO_EFFECT)
    num_unload_threads: int = _flag(0, "Versions unload beside requests anyway.", NO_EFFECT)
    flush_filesystem_caches: bool = _flag(True, "File caches are the system's.", NO_EFFECT)
    tensorflow_session_config_file: str = _flag("", "Use the parallelism flags.", NO_EFFECT)
    platform_config_file: str = _flag("", "SavedModel and TFLite are the platforms.", NO_EFFECT)
    per_process_gpu_memory_fraction: float = _flag(0.0, "TensorFlow selects.", NO_EFFECT)
    use_alts_credentials: bool = _flag(False, "ALTS runs in Google's cloud alone.", NO_EFFECT)
    remove_unused_fields_from_bundle_metagraph: bool = _flag(True, "They are kept.", NO_EFFECT)
    xla_cpu_compilation_enabled: bool = _flag(False, "A model says itself what is compiled.", NO_EFFECT)
    thread_pool_factory_config_file: str = _flag("", "There is one pool.", NO_EFFECT)

    bind_address: str = _flag("127.0.0.1", "Address to listen on. The original listens on all; give 0.0.0.0 for that.",
                              OWN)
    max_request_bytes: int = _flag(64 << 20, "The largest request, in bytes, gRPC or REST, unpacked.", OWN)
    max_concurrent_requests: int = _flag(1024, "Requests in flight, beyond which new ones get UNAVAILABLE; over gRPC, "
                                             "beyond four times as many, RESOURCE_EXHAUSTED.", OWN)
    header_timeout_seconds: float = _flag(10.0, "How long a REST client may take to send its headers, and between "
                                                "parts of its body.", OWN)
    bearer_token_file: str = _flag("", "If non-empty, requests need the token in this file: Authorization: Bearer "
                                       "TOKEN.", OWN)
    drain_seconds: float = _flag(30.0, "How long requests in flight may take to finish after SIGTERM.", OWN)


def parse(arguments: Sequence[str]) -> Options:
    """Return the options of a command line: `--flag=value`, and `--flag` alone for true.

    Raises:
        StartError: a flag is not known, or its value not of its kind.
    """
    fields = {field.name: field for field in dataclasses.fields(Options)}
    options = Options()
    for argument in arguments:
        name, received, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            raise StartError(f"unknown argument: {argument}{f'. Did you mean --{near[0]}?' if near else ''}")
        setattr(options, name, _value(name, type(fields[name].default), value if received else None))
    return options


def _value(name: str, kind: type, text: str | None) -> object:
    if kind is bool:
        if text in (None, "", "true", "1"):
            return True
        if text in ("false", "0"):
            return False
    elif text is not None:
        try:
            return kind(text)
        except ValueError:
            pass
    raise StartError(f"Couldn't interpret value {text or ''} for flag {name}. Give --{name}={_example(kind)}")


def _example(kind: type) -> str:
    return {bool: "true or false", int: "NUMBER", float: "NUMBER"}.get(kind, "TEXT")


def check(options: Options) -> None:
    """Raise StartError where flags miss something, contradict each other, or name a file that is not there."""
    if not options.port and not options.grpc_socket_path and not options.rest_api_port:
        raise StartError("nothing to listen on: give --port, --grpc_socket_path or --rest_api_port")
    if options.rest_api_port and options.rest_api_port == options.port:
        raise StartError("--rest_api_port cannot be same as --port. Please use a different port for HTTP/REST API.")
    if not options.model_base_path and not options.model_config_file:
        raise StartError("Both server_options.model_base_path and server_options.model_config_file are empty! "
                         "Give --model_base_path=FOLDER, the folder that holds the numbered versions")
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file", "ssl_config_file",
                 "bearer_token_file"):
        path = getattr(options, name)
        if path and not os.path.isfile(path):
            raise StartError(f"--{name}={path}: there is no such file")


def without_effect(options: Options) -> list[str]:
    """Return the flags that were given and change nothing here, each with why."""
    return [f"--{field.name} has no effect here: {field.metadata['what']}" for field in dataclasses.fields(Options)
            if field.metadata["kind"] == NO_EFFECT and getattr(options, field.name) != field.default]


def usage(program: str) -> str:
    """Return all flags with their defaults, as the original prints them."""
    lines = [f"usage: {program}", "Flags:"]
    for field in dataclasses.fields(Options):
        default = str(field.default).lower() if isinstance(field.default, bool) else repr(field.default).replace("'",
                                                                                                                 '"')
        kind = {bool: "bool", int: "int32", float: "float"}.get(type(field.default), "string")
        note = {OWN: " (not in the original)", NO_EFFECT: " (no effect)"}.get(field.metadata["kind"], "")
        lines.append(f"\t--{field.name + '=' + default:<54}\t{kind}\t{field.metadata['what']}{note}")
    return "\n".join(lines)
