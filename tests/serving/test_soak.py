"""Half a minute of what `make soak` does for half an hour."""
import shutil
import threading
import time

import numpy as np
import pytest

from serving.client import GrpcClient
from serving.embedded import running
from serving.errors import ServingError
from serving.load import resident
from serving.repository import Repository

ROW = {"x": np.array([[1, 2]], "float32")}


@pytest.mark.slow
def test_version_after_version_no_request_fails_and_memory_stays(tmp_path, toy_one, toy_two):
    repository = Repository(tmp_path)
    repository.promote("toy", toy_one)
    failed, answered, sizes, ended = [], [], [], threading.Event()
    with running(model_name="toy", model_base_path=str(tmp_path / "toy")) as server, GrpcClient(server.grpc, "toy",
                                                                                                retry=False) as client:
        def keep_asking():
            while not ended.is_set():
                try:
                    answered.append(float(client.ask(ROW)["y"][0, 0]))
                except ServingError as error:
                    failed.append(str(error))

        threads = [threading.Thread(target=keep_asking) for _ in range(2)]
        for thread in threads:
            thread.start()
        for turn in range(12):
            number = repository.promote("toy", (toy_two, toy_one)[turn % 2])
            while client.status().get(number) != "AVAILABLE":
                time.sleep(0.05)
            sizes.append(resident())
            if number > 3:
                shutil.rmtree(tmp_path / "toy" / str(number - 3))
        ended.set()
        for thread in threads:
            thread.join()
    assert not failed and len(answered) > 500 and set(answered) == {2.0, 11.0}
    assert np.median(sizes[-4:]) < np.median(sizes[4:8]) * 1.05
