"""The server as people start it: flags, errors, exit codes, signals."""
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving import flags
from serving.client import GrpcClient, RestClient
from serving.embedded import free_ports, running
from serving.errors import ServingError, StartError

PROGRAM = str(Path(sys.executable).with_name("tensorflow_model_server"))


def run(*arguments, program=(PROGRAM,), **options):
    return subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


def test_flags_have_the_originals_forms_and_defaults():
    options = flags.parse([])
    assert (options.port, options.rest_api_port, options.rest_api_timeout_in_ms, options.model_name) == (8500, 0, 30000,
                                                                                                         "default")
    assert (options.max_num_load_retries, options.load_retry_interval_micros,
            options.file_system_poll_wait_seconds) == (5, 60_000_000, 1)
    assert options.enable_model_warmup and not options.enable_batching
    options = flags.parse(["--port=9000", "--enable_batching", "--enable_model_warmup=false", "--model_name=a=b"])
    assert (options.port, options.enable_batching, options.enable_model_warmup, options.model_name) == (9000, True,
                                                                                                        False, "a=b")


@pytest.mark.parametrize("argument, words", [
    ("--prot=1", "unknown argument: --prot=1. Did you mean --port?"), ("port=1", "unknown argument: port=1"),
    ("--port=x", "Couldn't interpret value x for flag port"), ("--port", "Couldn't interpret value  for flag port"),
    ("--enable_batching=maybe", "Couldn't interpret value maybe for flag enable_batching"),
])
def test_flags_that_are_none_are_refused(argument, words):
    with pytest.raises(StartError) as caught:
        flags.parse([argument])
    assert words in str(caught.value)


def test_flags_without_meaning_here_are_taken_and_said_to_have_none():
    options = flags.parse(["--num_load_threads=4", "--flush_filesystem_caches=false"])
    assert [line.split()[0] for line in flags.without_effect(options)] == ["--num_load_threads",
                                                                           "--flush_filesystem_caches"]


def test_the_command_line_ends_as_the_originals():
    unknown = run("--prot=1")
    assert unknown.returncode == 255
    assert unknown.stderr.startswith("unknown argument: --prot=1")
    assert "--port=8500" in unknown.stderr
    version = run("--version")
    assert version.returncode == 0 and version.stdout.startswith("TensorFlow ModelServer: 2.21")


def test_a_broken_configuration_is_said_with_its_line_and_field(tmp_path):
    (tmp_path / "models.config").write_text("model_config_list {\n config {\n  nam: 'x'\n }\n}")
    with pytest.raises(StartError, match=r"^Error parsing text-format tensorflow\.serving\."
                       r"ModelServerConfig: 3:3: .*\"nam\".* Invalid protobuf file: '.*models\.config'$"), \
            running(model_config_file=str(tmp_path / "models.config")):
        pass


@pytest.mark.parametrize("arguments, words", [
    ((), "Both server_options.model_base_path and server_options.model_config_file are empty!"),
    (("--port=0", "--model_base_path=x"), "nothing to listen on"),
    (("--rest_api_port=8500", "--model_base_path=x"), "--rest_api_port cannot be same as --port"),
    pytest.param(("--model_base_path=nowhere", "--port=PORT"), "Could not find base path", marks=pytest.mark.slow),
    pytest.param(("--model_base_path=x", "--bind_address=203.0.113.7"),
                 "cannot listen on 203.0.113.7:8500: Cannot assign requested address", marks=pytest.mark.slow),
    (("--model_base_path=x", "--ssl_config_file=none"), "none: there is no such file"),
    (("--model_base_path=x", "--bearer_token_file=none"), "none: there is no such file"),
])
def test_what_keeps_it_from_starting_is_one_line(arguments, words, tmp_path):
    message = run(*(one.replace("PORT", str(free_ports(1)[0])) for one in arguments), cwd=tmp_path)
    lines = [line for line in message.stderr.splitlines() if words in line]
    assert message.returncode == 255 and len(lines) == 1 and "Traceback" not in message.stderr


def test_a_port_in_use_is_said(base):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        message = run(f"--port={taken.getsockname()[1]}", f"--model_base_path={base}")
    assert message.returncode == 255
    assert "Address already in use" in message.stderr
    assert "Traceback" not in message.stderr


@pytest.fixture
def process(base, tmp_path):
    """A server in a process of its own; its ports."""
    rpc, rest = free_ports(2)
    started = subprocess.Popen([PROGRAM, f"--port={rpc}", f"--rest_api_port={rest}", "--model_name=toy",
                                f"--model_base_path={base}",
                                f"--grpc_socket_path={tmp_path / 'socket'}"], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
    assert started.stdout is not None and started.stdout.readline().startswith("serving: gRPC on 127.0.0.1")
    yield started, rpc, rest
    started.kill()
    started.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_drains_as_health_says_and_ends_well(process, tmp_path, number):
    started, rpc, rest = process
    channel = grpc.insecure_channel(f"127.0.0.1:{rpc}")
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    with GrpcClient(f"unix:{tmp_path / 'socket'}", "toy") as client:
        assert client.ask({"x": np.ones((1, 2), "float32")})["y"][0, 0] == 2
    with RestClient(f"127.0.0.1:{rest}", "toy") as client:
        assert client.ask({"x": np.ones((1, 2), "float32")})["y"][0, 0] == 2
    broken, answered, ended = [], [], threading.Event()

    def keep_asking():
        with GrpcClient(f"127.0.0.1:{rpc}", "toy", retry=False) as client:
            while not ended.is_set():
                try:
                    client.ask({"x": np.ones((50_000, 2), "float32")})
                    answered.append(1)
                except ServingError as error:
                    broken.append(error.code)
                    return

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    started.send_signal(number)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    channel.close()
    assert started.wait(20) == 0
    ended.set()
    for thread in threads:
        thread.join()
    assert answered and {code.name for code in broken} == {"UNAVAILABLE"}  # nothing that was under way was cut off
