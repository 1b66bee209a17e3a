"""What serving must reach: prints one table.

    make bench-serving
    .venv/bin/python benchmarks/serving.py --only throughput overhead

Runs recipes/vision/digits.yaml first where it has not run. Servers and load share this machine. Exits 1 where a figure is missed.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from compression import Row, print_table

sys.path.remove(str(Path(__file__).parent))  # where `serving` is this file, not the package
BIN = Path(sys.executable).parent
RECIPE = Path("recipes/vision/digits.yaml")
CLIENTS = (1, 8, 32)
SECONDS = 8.0
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

#: A promotion whose steps are slowed, so that a kill hits each of them.
PROMOTE = """
import pathlib, shutil, sys, time
from serving import repository
copy, to_disk = shutil.copystat, repository._to_disk
def slow_copystat(*given, **options):
    time.sleep(0.04)
    copy(*given, **options)
def slow_to_disk(path, deep=True):
    time.sleep(0.04)
    to_disk(path, deep)
shutil.copystat, repository._to_disk = slow_copystat, slow_to_disk
source = next((pathlib.Path(sys.argv[2]) / "export/saved_model").resolve().iterdir())
print("ready", flush=True)
repository.Repository(pathlib.Path(sys.argv[1])).promote("digits", source)
time.sleep(5)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seconds", type=float, default=1800.0, help="of the soak")
    options = parser.parse_args()
    found = subprocess.run([str(BIN / "litepress"), "run", str(RECIPE), "--runs", str(options.runs), "--no-track"]).returncode
    if found:
        sys.exit(found)
    rows: list[Row] = []
    for part in options.only:
        own = PARTS[part](options.runs / "digits" / "latest", options.seconds)
        for row in own:
            print(f"  {row.what}: {row.measured}  {row.bound}  {'reached' if row.reached else 'MISSED'}", flush=True)
        rows += own
    print_table(rows)
    sys.exit(not all(row.reached for row in rows))


@contextlib.contextmanager
def process(command: list[str], ready: str = "", url: str = "", **options) -> Iterator[subprocess.Popen]:
    """A server in a process of its own, from when it says it is ready, or its address answers."""
    started = subprocess.Popen(command, stdout=subprocess.PIPE if ready else subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
                               start_new_session=True, **options)
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
    """The embedded server; its gRPC and REST addresses."""
    from serving.embedded import free_ports

    rpc, rest = free_ports(2)
    with process([str(BIN / "tensorflow_model_server"), f"--port={rpc}", f"--rest_api_port={rest}", f"--model_name={name}",
                  f"--model_base_path={base}", *flags], "serving:") as started:
        yield started, f"127.0.0.1:{rpc}", f"127.0.0.1:{rest}"


def pictures(run: Path) -> list[dict]:
    import numpy as np
    import PIL.Image

    return [{"image": np.asarray(PIL.Image.open(path))[None]} for path in sorted((run / "package/bundle/samples").glob("*.png"))]


def rate(address: str, name: str, protocol: str, inputs: list[dict], clients: int, seconds: float = SECONDS):
    """Answers a second, and their times."""
    from serving import load
    from serving.client import Access

    async def measure():
        async with load.asker(Access(address, name), protocol, inputs) as ask:
            return await load.closed_loop(ask, clients, seconds)

    return checked(asyncio.run(measure()))


def http_rate(url: str, bodies: list[bytes], clients: int, seconds: float = SECONDS):
    from serving import load

    async def measure():
        async with load.http_asker(url, bodies, 60) as ask:
            return await load.closed_loop(ask, clients, seconds)

    return checked(asyncio.run(measure()))


def checked(step):
    assert not step.errors, step.errors
    return step


def accuracy(run: Path, _: float) -> list[Row]:
    """What the run's verify stage found behind the embedded server."""
    results = json.loads((run / "results.json").read_text())
    one = next(one for one in results["artifacts"] if one["target"] == "saved_model")
    reference = results["reference"]["metrics"]["accuracy"]
    return [Row(f"served over {protocol}: accuracy, logits off Keras", f"{found['accuracy']:.4f} (Keras {reference:.4f}), "
                f"{found['max_logit_error']:.1e}", "equal, <= 1e-5", found["accuracy"] == reference and found["max_logit_error"] <= 1e-5)
            for protocol, found in one["served"].items()]


def throughput(run: Path, _: float) -> list[Row]:
    """ResNet-8 against mlflow and a plain FastAPI server, batch 1."""
    from serving.embedded import free_ports

    inputs = pictures(run)
    bodies = [json.dumps({"instances": one["image"].tolist()}).encode() for one in inputs]
    as_inputs = [json.dumps({"inputs": one["image"].astype("float32").tolist()}).encode() for one in inputs]
    measured: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lite = Path(folder) / "lite"
        (lite / "1").mkdir(parents=True)
        (lite / "1" / "model.tflite").write_bytes((run / "compress" / "float32.tflite").read_bytes())
        raw = [{"image": one["image"].astype("float32")} for one in inputs]
        for title, base, given, flags in (("SavedModel, gRPC", run / "export/saved_model", inputs, ()),
                                          ("SavedModel, REST", run / "export/saved_model", inputs, ()),
                                          (".tflite, gRPC", lite, raw, ("--prefer_tflite_model",))):
            with server(base.resolve(), "digits", *flags) as (_, rpc, rest):
                protocol = "rest" if title.endswith("REST") else "grpc"
                measured[title] = {clients: rate(rest if protocol == "rest" else rpc, "digits", protocol, given, clients).throughput
                                   for clients in CLIENTS}
        keras_file = run / "train" / "model.keras"
        with process([sys.executable, "-c", FASTAPI, str(keras_file), str(port := free_ports(1)[0])],
                     url=f"http://127.0.0.1:{port}/ping"):
            measured["FastAPI + Keras predict"] = {clients: http_rate(f"http://127.0.0.1:{port}/predict", bodies, clients).throughput
                                                   for clients in CLIENTS}
        save_for_mlflow(keras_file, Path(folder) / "mlflow", raw[0]["image"])
        with process([str(BIN / "mlflow"), "models", "serve", "-m", str(Path(folder) / "mlflow"), "--env-manager", "local", "-p",
                      str(port := free_ports(1)[0])], url=f"http://127.0.0.1:{port}/ping",
                     env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}):
            measured["mlflow models serve"] = {clients: http_rate(f"http://127.0.0.1:{port}/invocations", as_inputs, clients).throughput
                                               for clients in CLIENTS}
    peers = [name for name in measured if name.startswith(("FastAPI", "mlflow"))]
    rows = []
    for title, found in measured.items():
        shown = ", ".join(f"{found[clients]:,.0f}" for clients in CLIENTS)
        if title in peers:
            rows.append(Row(f"{title}: requests/s, {', '.join(map(str, CLIENTS))} clients", shown, "", True))
            continue
        least = {peer: min(found[clients] / measured[peer][clients] for clients in CLIENTS) for peer in peers}
        rows.append(Row(f"{title}: requests/s, {', '.join(map(str, CLIENTS))} clients",
                        f"{shown}; least {', '.join(f'{value:.0f} x {peer.split()[0]}' for peer, value in least.items())}",
                        ">= 20 x each", min(least.values()) >= 20))
    return rows


def save_for_mlflow(keras_file: Path, folder: Path, example) -> None:
    """As `mlflow.tensorflow` saves a Keras model; in a process of its own, which trains nothing here."""
    code = ("import sys, keras, mlflow, numpy; model = keras.saving.load_model(sys.argv[1]); x = numpy.zeros(eval(sys.argv[3]), 'float32');"
            "mlflow.tensorflow.save_model(model, sys.argv[2], signature=mlflow.models.infer_signature(x, model(x).numpy()))")
    subprocess.run([sys.executable, "-c", code, str(keras_file), str(folder), repr(example.shape)], check=True, capture_output=True)


def overhead(run: Path, _: float) -> list[Row]:
    """Milliseconds that a protocol adds to the bare call, p50, by turns so that noise hits all alike."""
    import numpy as np

    from export.predictors import SavedModelPredictor

    inputs, versions = pictures(run), (run / "export/saved_model").resolve()
    bare_call = SavedModelPredictor(next(versions.iterdir())).prepared({"image": np.ascontiguousarray(inputs[0]["image"])})
    found: dict[str, list[float]] = {"bare": [], "grpc": [], "rest": []}
    with server(versions, "digits") as (_, rpc, rest):
        for turn in range(6):
            times = []
            for _ in range(300):
                start = time.perf_counter()
                bare_call()
                times.append(time.perf_counter() - start)
            for kind, value in (("bare", statistics.median(times) * 1e3), ("grpc", rate(rpc, "digits", "grpc", inputs, 1, 2).p50),
                                ("rest", rate(rest, "digits", "rest", inputs, 1, 2).p50)):
                if turn:  # the first warms up
                    found[kind].append(value)
    middle = {kind: statistics.median(values) for kind, values in found.items()}
    return [Row(f"{label}: p50 over the bare SavedModel call", f"{middle[kind] - middle['bare']:.2f} ms ({middle[kind]:.2f} - "
                f"{middle['bare']:.2f})", f"< {limit} ms", middle[kind] - middle["bare"] < limit)
            for kind, label, limit in (("grpc", "gRPC", 1), ("rest", "REST", 2))]


def batching(_: Path, __: float) -> list[Row]:
    """MobileNetV2 at 96 pixels, 64 clients, with and without dynamic batching."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        code = ("import sys, pathlib, tensorflow as tf, models; from export import saved_model; saved_model.export(models.build("
                "'mobilenet_v2', input_shape=(96, 96, 3), classes=10), pathlib.Path(sys.argv[1]), labels=list('0123456789'), "
                "decode=lambda file: tf.cast(tf.image.resize(tf.io.decode_png(file, channels=3), (96, 96)), tf.uint8))")
        subprocess.run([sys.executable, "-c", code, str(base / "1")], check=True, capture_output=True)
        parameters = Path(folder) / "batching.config"
        parameters.write_text("max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } num_batch_threads { value: 2 } "
                              "max_enqueued_batches { value: 100 }\n")
        inputs = [{"image": np.random.default_rng(seed).integers(0, 256, (1, 96, 96, 3)).astype("uint8")} for seed in range(8)]
        found = {}
        for title, flags in (("without", ()), ("with", ("--enable_batching", f"--batching_parameters_file={parameters}"))):
            with server(base, "mobilenet", *flags) as (_, rpc, __):
                rate(rpc, "mobilenet", "grpc", inputs, 64, 3)
                found[title] = rate(rpc, "mobilenet", "grpc", inputs, 64)
    gain = found["with"].throughput / found["without"].throughput
    return [Row("batching at 64 clients, MobileNetV2 at 96 pixels", f"{gain:.2f} x ({found['without'].throughput:,.0f} -> "
                f"{found['with'].throughput:,.0f} requests/s; p99 {found['without'].p99:,.0f} -> {found['with'].p99:,.0f} ms)", ">= 1.5 x",
                gain >= 1.5)]


def soak(run: Path, seconds: float) -> list[Row]:
    """Load with a version swap every ten seconds: no request fails, and memory stays flat."""
    from serving import load
    from serving.client import Access
    from serving.repository import Repository

    inputs, sizes, swaps = pictures(run), [], 0
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        source = next((run / "export/saved_model").resolve().iterdir())
        repository.promote("digits", source)

        async def measure(rpc: str, started: subprocess.Popen):
            nonlocal swaps
            end = time.monotonic() + seconds

            async def swap() -> None:
                nonlocal swaps
                while time.monotonic() + 10 < end:
                    await asyncio.sleep(10)
                    await asyncio.to_thread(repository.promote, "digits", source)
                    swaps += 1
                    sizes.append(load.resident(started.pid))

            async with load.asker(Access(rpc, "digits", retry=False), "grpc", inputs) as ask:
                swapping = asyncio.create_task(swap())
                step = await load.open_loop(ask, 60, seconds)
                await swapping
                return step

        with server(Path(folder) / "digits", "digits") as (started, rpc, _):
            step = asyncio.run(measure(rpc, started))
    third = max(1, len(sizes) // 3)
    before, after = statistics.median(sizes[third:2 * third] or sizes), statistics.median(sizes[-third:])
    grown = after / before - 1
    return [Row(f"{seconds / 60:g} minutes of load, {swaps} version swaps: failed requests",
                f"{step.failed} of {step.answered + step.failed:,}", "0", step.failed == 0),
            Row("memory of the last third against the middle one", f"{grown:+.1%} ({before:,.0f} -> {after:,.0f} MB)", "<= +5 %",
                grown <= 0.05)]


def kills(run: Path, _: float) -> list[Row]:
    """kill -9 at any moment of a promotion: the repository stays whole, and the server goes on with a good version."""
    import numpy as np

    from serving.client import GrpcClient
    from serving.repository import Repository

    inputs, whole, answered, times = pictures(run), 0, 0, 20
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        repository.promote("digits", next((run / "export/saved_model").resolve().iterdir()))
        wanted = {path.relative_to(folder).parts[2:] for path in Path(folder, "digits", "1").rglob("*")}
        with server(Path(folder) / "digits", "digits") as (_, rpc, __), GrpcClient(rpc, "digits", retry=False) as client:
            expected = client.ask(inputs[0])["logits"]
            for _ in range(times):
                with process([sys.executable, "-c", PROMOTE, folder, str(run)], "ready") as promoting:
                    time.sleep(dice.uniform(0, 0.4))
                    os.killpg(promoting.pid, signal.SIGKILL)
                versions = [Path(folder, "digits", str(number)) for number in repository.models()["digits"]]
                whole += all({path.relative_to(version).parts for path in version.rglob("*")} >= wanted for version in versions) and bool(
                    repository.config().model_config_list.config)
                answered += bool(np.abs(client.ask(inputs[0])["logits"] - expected).max() <= 1e-5)
            last = max(repository.models()["digits"])
    return [Row(f"kill -9 during {times} promotions ({last - 1} came through): repository whole, server answering",
                f"{whole} and {answered} of {times}", "all", whole == answered == times)]


PARTS = {"accuracy": accuracy, "throughput": throughput, "overhead": overhead, "batching": batching, "kills": kills, "soak": soak}

if __name__ == "__main__":
    main()
