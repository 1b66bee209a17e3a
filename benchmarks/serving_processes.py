"""The programs that benchmarks/servers.py measures or disturbs, and how they are started."""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
FASTAPI = """
import sys
import fastapi, keras, numpy, uvicorn
model, app = keras.saving.load_model(sys.argv[1]), fastapi.FastAPI()
@app.get("/ping")
def ping():
    return "ok"
@app.post("/predict")
def predict(body: dict):
    return {"predictions": model.predict(numpy.array(body["instances"], "float32"), verbose=0).tolist()}
uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""

#: A SavedModel of MobileNetV2, untrained.
MOBILENET = """
import pathlib, sys
import models
from export.keras_models import graph
from export.signature import Signature, Tensor
from export.targets import saved_model
model = models.build("mobilenet_v2", input_shape=(96, 96, 3), classes=10)
signature = Signature(inputs=(Tensor(name="image", dtype="uint8", shape=(96, 96, 3), role="image"),),
                      outputs=(Tensor(name="logits", dtype="float32", shape=(10,), role="logits"),))
saved_model.export(model, pathlib.Path(sys.argv[1]), [graph.function(model, signature)])
"""
#: A promotion whose steps are slowed, so that a kill hits each of them.
PROMOTE = """
import pathlib, shutil, sys, time
from serving import repository
copy, to_disk = shutil.copystat, repository._to_disk
def slow_copystat(*arguments, **options):
    time.sleep(0.04)
    copy(*arguments, **options)
def slow_to_disk(path, deep=True):
    time.sleep(0.04)
    to_disk(path, deep)
shutil.copystat, repository._to_disk = slow_copystat, slow_to_disk
source = next((pathlib.Path(sys.argv[2]) / "export/saved_model").resolve().iterdir())
print("ready", flush=True)
repository.Repository(pathlib.Path(sys.argv[1])).promote("digits", source)
time.sleep(5)
"""


@contextlib.contextmanager
def process(command: list[str], ready: str = "", url: str = "", **options) -> Iterator[subprocess.Popen]:
    """Run a server in a process of its own, from when it says it is ready, or its address answers."""
    output = subprocess.PIPE if ready else subprocess.DEVNULL
    started = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
                               **options)
    try:
        if ready:
            assert started.stdout is not None and started.stdout.readline().startswith(ready), "it did not start"
        end = time.monotonic() + 120
        while url:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=2)
                break
            assert time.monotonic() < end and started.poll() is None, f"{command[0]} did not start"
            time.sleep(0.3)
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


@contextlib.contextmanager
def server(base: Path, name: str, *flags: str) -> Iterator[tuple[subprocess.Popen, str, str]]:
    """Run the embedded server; yield its process and its gRPC and REST addresses."""
    from serving.embedded import free_ports

    rpc, rest = free_ports(2)
    with process([str(BIN / "tensorflow_model_server"), f"--port={rpc}", f"--rest_api_port={rest}",
                  f"--model_name={name}",
                  f"--model_base_path={base}", *flags], "serving:") as started:
        yield started, f"127.0.0.1:{rpc}", f"127.0.0.1:{rest}"
