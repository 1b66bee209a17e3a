"""Requests that come together run together, and each gets its own answer."""
import asyncio

import numpy as np
import pytest

from serving import messages
from serving.batching import Batcher, Parameters
from serving.client import GrpcClient
from serving.embedded import running
from serving.errors import ServingError, StartError


def rows(*values):
    return {"x": np.array(values, "float32").reshape(-1, 1)}


def batches_of(parameters, requests, run=None, pause=0.0, loop=asyncio.run):
    """The row counts that ran, and the answers, for requests sent at once, in an event loop of a kind."""
    ran = []

    def double(inputs):
        import time

        time.sleep(pause)
        ran.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    async def send():
        batcher = Batcher(parameters)
        answers = await asyncio.gather(*(batcher.submit("key", one, run or double) for one in requests),
                                       return_exceptions=True)
        await batcher.close()
        return answers

    return ran, loop(send())


def test_requests_within_the_timeout_share_a_batch():
    ran, answers = batches_of(Parameters(max_batch_size=8, batch_timeout_micros=50_000), [rows(1), rows(2, 3), rows(4)])
    assert ran == [4]
    assert [answer["y"].ravel().tolist() for answer in answers] == [[2], [4, 6], [8]]


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_queues_that_wait_for_other_times_all_run(name):
    """Of many kinds, due within the same millisecond: an event loop may have no timer for so little."""
    loop = pytest.importorskip(name).run
    requests = [{"x": np.zeros((1, width), "float32")} for _ in range(40) for width in range(1, 6)]
    ran, answers = batches_of(Parameters(max_batch_size=64, batch_timeout_micros=300, max_enqueued_batches=100),
                              requests, loop=loop)
    assert sum(ran) == 200 and [answer["y"].shape for answer in answers] == [one["x"].shape for one in requests]


def test_a_full_batch_does_not_wait():
    ran, _ = batches_of(Parameters(max_batch_size=2, batch_timeout_micros=60_000_000, num_batch_threads=1),
                        [rows(1), rows(2)])
    assert ran == [2]


def test_batches_are_padded_to_allowed_sizes_and_answers_cut_back():
    ran, answers = batches_of(Parameters(max_batch_size=8, batch_timeout_micros=50_000, allowed_batch_sizes=(1, 4, 8)),
                              [rows(1), rows(2), rows(3)])
    assert ran == [4]
    assert [answer["y"].ravel().tolist() for answer in answers] == [[2], [4], [6]]


def test_a_full_queue_is_unavailable():
    parameters = Parameters(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    _, answers = batches_of(parameters, [rows(1)] * 6, pause=0.05)
    refused = [answer for answer in answers if isinstance(answer, ServingError)]
    assert len(refused) == 3 and len(answers) - len(refused) == 3  # one ran at once, two waited
    assert {(one.code.name, one.message) for one in refused} == {
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full")}


def test_too_large_a_request_is_refused_or_split():
    _, answers = batches_of(Parameters(max_batch_size=2), [rows(1, 2, 3)])
    assert answers[0].message == "Task size 3 is larger than maximum input batch size 2"
    ran, answers = batches_of(Parameters(max_batch_size=8, enable_large_batch_splitting=True,
                                         max_execution_batch_size=2), [rows(1, 2, 3)])
    assert sorted(ran) == [1, 2] and answers[0]["y"].ravel().tolist() == [2, 4, 6]


def test_rows_of_other_shapes_do_not_mix_unless_padded():
    wide = {"x": np.ones((1, 3), "float32")}
    ran, answers = batches_of(Parameters(max_batch_size=8, batch_timeout_micros=20_000), [rows(1), wide])
    assert ran == [1, 1] and answers[1]["y"].shape == (1, 3)
    ran, answers = batches_of(Parameters(max_batch_size=8, batch_timeout_micros=20_000,
                                         pad_variable_length_inputs=True), [rows(1), wide])
    assert ran == [2] and answers[0]["y"].tolist() == [[2, 0, 0]]


@pytest.mark.parametrize("inputs, words", [({"x": np.float32(1)}, "at least one dimension"),
                                           ({"x": np.ones((1, 1)), "z": np.ones((2, 1))}, "equal 0th-dimension size"),
                                           ({"x": np.ones((0, 1))}, "at least one row")])
def test_inputs_that_cannot_be_stacked_are_refused(inputs, words):
    _, answers = batches_of(Parameters(), [{name: np.asarray(value) for name, value in inputs.items()}])
    assert answers[0].code.name == "INVALID_ARGUMENT" and words in answers[0].message


def test_an_error_reaches_everyone_in_the_batch():
    def fail(inputs):
        raise ServingError(answers_code(), "it broke")

    def answers_code():
        import grpc

        return grpc.StatusCode.INTERNAL

    _, answers = batches_of(Parameters(batch_timeout_micros=20_000), [rows(1), rows(2)], run=fail)
    assert [one.message for one in answers] == ["it broke", "it broke"]


@pytest.mark.parametrize("text, words", [
    ("max_batch_size { value: 0 }", "max_batch_size must be at least 1; was 0"),
    ("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 4", "must be in increasing order"),
    ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "last entry in allowed_batch_sizes must match "
                                                           "max_batch_size"),
    ("max_batch_sizes { value: 8 }", "BatchingParameters: 1:1: "),
])
def test_parameters_that_cannot_be_are_refused(tmp_path, text, words):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(StartError) as caught:
        Parameters.of(messages.read(path, messages.BatchingParameters), str(path))
    assert str(path) in str(caught.value) and words in str(caught.value)


def test_a_server_that_batches_answers_as_one_that_does_not(base, tmp_path):
    config = tmp_path / "batching.config"
    config.write_text("max_batch_size { value: 32 } batch_timeout_micros { value: 3000 } num_batch_threads { value: 2 "
                      "}")
    with running(model_name="toy", model_base_path=str(base), enable_batching=True,
                 batching_parameters_file=str(config)) as server:
        from concurrent.futures import ThreadPoolExecutor

        with GrpcClient(server.grpc, "toy") as client, ThreadPoolExecutor(32) as threads:
            result = list(threads.map(lambda place: client.ask({"x": np.full((1, 2), place, "float32")})["y"][0, 0],
                                      range(200)))
        assert result == [place + 1 for place in range(200)]
        page = server.server.core.metrics.page().decode()
        ran = float(next(line for line in page.splitlines() if "batch_size_count" in line).split()[-1])
        assert 0 < ran < 200


def test_each_model_may_bring_its_own_parameters(base, tmp_path):
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    flags = dict(model_name="toy", model_base_path=str(base), enable_batching=True,
                 enable_per_model_batching_parameters=True)
    with running(**flags) as server, GrpcClient(server.grpc, "toy") as client:
        assert client.ask({"x": np.ones((2, 2), "float32")})["y"].tolist() == [[2, 2], [2, 2]]
        with pytest.raises(ServingError, match="Task size 3 is larger than maximum input batch size 2"):
            client.ask({"x": np.ones((3, 2), "float32")})
    (base / "1" / "batching_params.pbtxt").unlink()
    with running(**flags) as server, GrpcClient(server.grpc, "toy") as client:
        client.ask({"x": np.ones((3, 2), "float32")})
        assert not server.server.core._batchers
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    with pytest.raises(StartError, match="max_batch_size must be at least 1"), running(**flags, max_num_load_retries=0):
        pass
