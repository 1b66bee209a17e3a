"""Measure what serving must reach, and print one table.

    make bench-serving
    .venv/bin/python benchmarks/servers.py --only throughput overhead

Runs recipes/vision/digits.yaml first where it has not run. Servers and load share this machine. Exits 1 where a figure
is missed.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from compression import Row, print_table
from serving_processes import BIN, FASTAPI, MOBILENET, PROMOTE, process, server

RECIPE = Path("recipes/vision/digits.yaml")
CLIENTS = (1, 8, 32)
SECONDS = 8.0



def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), metavar="PART",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seconds", type=float, default=1800.0, help="of the soak")
    options = parser.parse_args()
    command = [str(BIN / "litepress"), "run", str(RECIPE), "--runs", str(options.runs), "--no-track"]
    if code := subprocess.run(command).returncode:
        sys.exit(code)
    rows: list[Row] = []
    for part in options.only:
        measured = PARTS[part](options.runs / "digits" / "latest", options.seconds)
        for row in measured:
            print(f"  {row.what}: {row.measured}  {row.bound}  {'reached' if row.reached else 'MISSED'}", flush=True)
        rows += measured
    print_table(rows)
    sys.exit(not all(row.reached for row in rows))


def samples(run: Path) -> list[dict]:
    """Return the inputs of a run's golden samples, each as a batch of one."""
    from export.delivery import samples

    inputs = samples.read(run / "package/bundle/samples").inputs
    count = len(next(iter(inputs.values())))
    return [{name: values[number:number + 1] for name, values in inputs.items()} for number in range(count)]


def rate(address: str, name: str, protocol: str, inputs: list[dict], clients: int, seconds: float = SECONDS):
    """Return answers a second, and their times, of clients that each ask as soon as they have their answer."""
    from serving import load
    from serving.client import Access

    async def measure():
        async with load.asker(Access(address, name), protocol, inputs) as ask:
            return await load.closed_loop(ask, clients, seconds)

    return checked(asyncio.run(measure()))


def http_rate(url: str, bodies: list[bytes], clients: int, seconds: float = SECONDS):
    """Return the same for any address that takes JSON."""
    from serving import load

    async def measure():
        async with load.http_asker(url, bodies, 60) as ask:
            return await load.closed_loop(ask, clients, seconds)

    return checked(asyncio.run(measure()))


def checked(step):
    assert not step.errors, step.errors
    return step


def accuracy(run: Path, _: float) -> list[Row]:
    """Return what the run's verify stage measured behind the embedded server."""
    results = json.loads((run / "results.json").read_text())
    artifact = next(one for one in results["artifacts"] if one["target"] == "saved_model")
    reference = results["reference"]["metrics"]["accuracy"]
    rows = []
    for protocol, served in artifact["served"].items():
        value, error = served["metrics"]["accuracy"], served["max_error"]
        rows.append(Row(f"served over {protocol}: accuracy, logits off Keras", f"{value:.4f} (Keras {reference:.4f}), "
                                                                               f"{error:.1e}",
                        "equal, <= 1e-5", value == reference and error <= 1e-5))
    return rows


def throughput(run: Path, _: float) -> list[Row]:
    """ResNet-8 against mlflow and a plain FastAPI server, batch 1."""
    measured = {**_own_rates(run), **_peer_rates(run)}
    peers = [name for name in measured if name.startswith(("FastAPI", "mlflow"))]
    rows = []
    for title, rates in measured.items():
        what = f"{title}: requests/s, {', '.join(map(str, CLIENTS))} clients"
        shown = ", ".join(f"{rates[clients]:,.0f}" for clients in CLIENTS)
        if title in peers:
            rows.append(Row(what, shown, "", True))
            continue
        least = {peer: min(rates[clients] / measured[peer][clients] for clients in CLIENTS) for peer in peers}
        factors = ", ".join(f"{value:.0f} x {peer.split()[0]}" for peer, value in least.items())
        rows.append(Row(what, f"{shown}; least {factors}", ">= 20 x each", min(least.values()) >= 20))
    return rows


def _own_rates(run: Path) -> dict[str, dict[int, float]]:
    """Return answers a second of the embedded server, by what is asked, then by clients."""
    inputs = samples(run)
    reals = [{"image": one["image"].astype("float32")} for one in inputs]
    measured: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lite = Path(folder) / "lite"
        (lite / "1").mkdir(parents=True)
        (lite / "1" / "model.tflite").write_bytes((run / "compress" / "float32.tflite").read_bytes())
        for title, base, sent, flags in (("SavedModel, gRPC", run / "export/saved_model", inputs, ()),
                                         ("SavedModel, REST", run / "export/saved_model", inputs, ()),
                                         (".tflite, gRPC", lite, reals, ("--prefer_tflite_model",))):
            protocol = "rest" if title.endswith("REST") else "grpc"
            with server(base.resolve(), "digits", *flags) as (_, rpc, rest):
                address = rest if protocol == "rest" else rpc
                measured[title] = {clients: rate(address, "digits", protocol, sent, clients).throughput
                                   for clients in CLIENTS}
    return measured


def _peer_rates(run: Path) -> dict[str, dict[int, float]]:
    """Return answers a second of other servers of the same Keras model."""
    from serving.embedded import free_ports

    images = [one["image"] for one in samples(run)]
    instances = [json.dumps({"instances": image.tolist()}).encode() for image in images]
    columns = [json.dumps({"inputs": image.astype("float32").tolist()}).encode() for image in images]
    keras_file, (fastapi, mlflow) = run / "train" / "model.keras", free_ports(2)
    measured: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        with process([sys.executable, "-c", FASTAPI, str(keras_file), str(fastapi)],
                     url=f"http://127.0.0.1:{fastapi}/ping"):
            measured["FastAPI + Keras predict"] = {
                clients: http_rate(f"http://127.0.0.1:{fastapi}/predict", instances, clients).throughput
                for clients in CLIENTS}
        saved = Path(folder) / "mlflow"
        save_for_mlflow(keras_file, saved, images[0].astype("float32"))
        command = [str(BIN / "mlflow"), "models", "serve", "-m", str(saved), "--env-manager", "local", "-p",
                   str(mlflow)]
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        with process(command, url=f"http://127.0.0.1:{mlflow}/ping", env=environment):
            measured["mlflow models serve"] = {
                clients: http_rate(f"http://127.0.0.1:{mlflow}/invocations", columns, clients).throughput
                for clients in CLIENTS}
    return measured


def save_for_mlflow(keras_file: Path, folder: Path, example) -> None:
    """Save a Keras model as `mlflow.tensorflow` does, in a process of its own, which trains nothing here."""
    code = ("import sys, keras, mlflow, numpy; model = keras.saving.load_model(sys.argv[1]); x = "
            "numpy.zeros(eval(sys.argv[3]), 'float32');"
            "mlflow.tensorflow.save_model(model, sys.argv[2], signature=mlflow.models.infer_signature(x, "
            "model(x).numpy()))")
    subprocess.run([sys.executable, "-c", code, str(keras_file), str(folder), repr(example.shape)], check=True,
                   capture_output=True)


def overhead(run: Path, _: float) -> list[Row]:
    """Milliseconds that a protocol adds to the bare call, p50, interleaved so that noise hits all alike."""
    from export.predictors import SavedModelPredictor

    inputs, versions = samples(run), (run / "export/saved_model").resolve()
    bare_call = SavedModelPredictor(next(versions.iterdir())).prepared(inputs[0])
    measured: dict[str, list[float]] = {"bare": [], "grpc": [], "rest": []}
    with server(versions, "digits") as (_, rpc, rest):
        for turn in range(6):
            values = {"bare": median_ms(bare_call), "grpc": rate(rpc, "digits", "grpc", inputs, 1, 2).p50,
                      "rest": rate(rest, "digits", "rest", inputs, 1, 2).p50}
            if turn:  # the first warms up
                for kind, value in values.items():
                    measured[kind].append(value)
    middle = {kind: statistics.median(values) for kind, values in measured.items()}
    rows = []
    for kind, label, limit in (("grpc", "gRPC", 1), ("rest", "REST", 2)):
        added = middle[kind] - middle["bare"]
        rows.append(Row(f"{label}: p50 over the bare SavedModel call",
                        f"{added:.2f} ms ({middle[kind]:.2f} - {middle['bare']:.2f})", f"< {limit} ms", added < limit))
    return rows


def median_ms(call: Callable[[], object], times: int = 300) -> float:
    """Return the median time of a call, in milliseconds."""
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured) * 1e3


def batching(_: Path, __: float) -> list[Row]:
    """MobileNetV2 at 96 pixels, 64 clients, with and without dynamic batching."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        subprocess.run([sys.executable, "-c", MOBILENET, str(base / "1")], check=True, capture_output=True)
        parameters = Path(folder) / "batching.config"
        parameters.write_text("max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } num_batch_threads { "
                              "value: 2 } "
                              "max_enqueued_batches { value: 100 }\n")
        inputs = [{"image": np.random.default_rng(seed).integers(0, 256, (1, 96, 96, 3)).astype("uint8")}
                  for seed in range(8)]
        measured = {}
        for title, flags in (("without", ()),
                             ("with", ("--enable_batching", f"--batching_parameters_file={parameters}"))):
            with server(base, "mobilenet", *flags) as (_, rpc, __):
                rate(rpc, "mobilenet", "grpc", inputs, 64, 3)
                measured[title] = rate(rpc, "mobilenet", "grpc", inputs, 64)
    one, many = measured["without"], measured["with"]
    gain = many.throughput / one.throughput
    return [Row("batching at 64 clients, MobileNetV2 at 96 pixels",
                f"{gain:.2f} x ({one.throughput:,.0f} -> {many.throughput:,.0f} requests/s; p99 {one.p99:,.0f} -> "
                f"{many.p99:,.0f} "
                "ms)", ">= 1.5 x", gain >= 1.5)]


def soak(run: Path, seconds: float) -> list[Row]:
    """Load with a version swap every ten seconds: no request fails, and memory stays flat."""
    from serving import load
    from serving.client import Access
    from serving.repository import Repository

    inputs = samples(run)
    sizes: list[float] = []
    swaps = 0
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
            Row("memory of the last third against the middle one", f"{grown:+.1%} ({before:,.0f} -> {after:,.0f} MB)",
                "<= +5 %",
                grown <= 0.05)]


def kills(run: Path, _: float) -> list[Row]:
    """kill -9 at any moment of a promotion: the repository stays whole, and the server goes on with a good version."""
    import numpy as np

    from serving.client import GrpcClient
    from serving.repository import Repository

    inputs = samples(run)
    whole, answered, times = 0, 0, 20
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        repository.promote("digits", next((run / "export/saved_model").resolve().iterdir()))
        expected_files = {path.relative_to(folder).parts[2:] for path in Path(folder, "digits", "1").rglob("*")}
        with server(Path(folder) / "digits", "digits") as (_, rpc, __), GrpcClient(rpc, "digits",
                                                                                   retry=False) as client:
            expected = client.ask(inputs[0])["logits"]
            for _ in range(times):
                with process([sys.executable, "-c", PROMOTE, folder, str(run)], "ready") as promoting:
                    time.sleep(dice.uniform(0, 0.4))
                    os.killpg(promoting.pid, signal.SIGKILL)
                versions = [Path(folder, "digits", str(number)) for number in repository.models()["digits"]]
                files = [{path.relative_to(version).parts for path in version.rglob("*")} for version in versions]
                served = bool(repository.config().model_config_list.config)
                whole += served and all(one >= expected_files for one in files)
                answered += bool(np.abs(client.ask(inputs[0])["logits"] - expected).max() <= 1e-5)
            last = max(repository.models()["digits"])
    return [Row(f"kill -9 during {times} promotions ({last - 1} came through): repository whole, server answering",
                f"{whole} and {answered} of {times}", "all", whole == answered == times)]


PARTS = {"accuracy": accuracy, "throughput": throughput, "overhead": overhead, "batching": batching, "kills": kills,
         "soak": soak}

if __name__ == "__main__":
    main()
