"""Training throughput of litepress against Keras' own fit, side by side, and of two workers against one.

    .venv/bin/python benchmarks/training.py [--rounds N]

The same model and the same batches go through `pipelines.training.loop.fit`, as a learner with named inputs and
outputs, with its checkpoints, journal and progress, and through a bare `model.fit` with a compiled loss, in turns
within one process, so that what else the machine does weighs on both alike. What counts is the time of an epoch,
validation included, without the first, in which graphs are made. Exits 1 below 97 %.

Two workers, each a process on loopback, share one batch; on one machine they also share its cores, so the figure tells
what the exchange of gradients costs, not what two machines give.
"""
from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 0.97
EPOCHS, BATCH = 6, 64
RECIPE = """\
name: throughput
data: {{source: mnist_5k, image: {{size: 32, channels: 1, fit: pad}}, batch: {batch}}}
model: {{builder: lenet5}}
train: {{epochs: {epochs}, strategy: {strategy}}}
"""


def side_by_side(rounds: int) -> float:
    """Print both rates, round by round; return litepress' share of Keras' examples per second, by the median epochs."""
    import keras

    from pipelines.engine.journal import Journal, read
    from pipelines.ingest.data import Data
    from pipelines.ingest.indexing import build_index
    from pipelines.recipe.recipe import Recipe
    from pipelines.training import loop, network

    recipe = Recipe.model_validate({
        "name": "throughput", "data": {"source": "mnist_5k", "image": {"size": 28, "channels": 3}, "batch": BATCH},
        "model": {"builder": "resnet8"}, "train": {"epochs": EPOCHS}})
    recipe.data.source.prepare()
    task = recipe.task
    data = Data(recipe.data, task, build_index(recipe.data, task, recipe.seed), recipe.seed)

    def batches(epoch: int = 0) -> Any:
        return data.training(epoch, EPOCHS)

    def model() -> keras.Model:
        keras.utils.set_random_seed(recipe.seed)
        return network.build(recipe.model, task.dimensions(data.index), task.outputs(data.index), task.adopt)

    def ours() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            loop.fit(model(), loop.Training(
                settings=recipe.train, objective=task.trained_objective(recipe.train.loss, data.index),
                watched=task.watch(data.index), monitored=task.watched, steps=data.steps, batches=batches,
                validation=data.validation(), folder=Path(folder), journal=Journal(path),
                progress=lambda epoch, done, metrics: None))
            return _between([event["time"] for event in read(path) if event["event"] == "metrics"])

    def bare() -> list[float]:
        moments: list[float] = []
        rate = keras.optimizers.schedules.CosineDecay(1e-3, data.steps * EPOCHS)
        plain = model()
        plain.compile(keras.optimizers.AdamW(rate, weight_decay=0.01),
                      keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: moments.append(time.time()))
        plain.fit(batches().map(_pair), epochs=EPOCHS, steps_per_epoch=data.steps,
                  validation_data=data.validation().map(_pair), verbose=0, callbacks=[clock])
        return _between(moments)

    times: dict = {ours: [], bare: []}
    for number in range(rounds):
        for one in ((ours, bare), (bare, ours))[number % 2]:
            epochs = one()
            times[one] += epochs
            name, rate = "litepress" if one is ours else "bare fit ", data.steps * BATCH / statistics.median(epochs)
            print(f"round {number + 1}: {name} {rate:,.0f} examples/s", flush=True)
    return statistics.median(times[bare]) / statistics.median(times[ours])


def _pair(inputs: dict, targets: dict) -> tuple[Any, Any]:
    """Return a batch as a bare Keras model takes it."""
    return inputs["image"], targets["label"]


def _between(moments: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(moments)]


def throughput(workers: int) -> float:
    """Return the examples per second of a whole training by so many workers on loopback, its first epoch left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        strategy = "multi_worker" if workers > 1 else "one"
        (folder / "recipe.yaml").write_text(RECIPE.format(batch=BATCH, epochs=EPOCHS, strategy=strategy))
        hosts = [f"127.0.0.1:{_free_port()}" for _ in range(workers)]
        processes = []
        for index in range(workers):
            role = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = os.environ | ({"TF_CONFIG": json.dumps(role)} if workers > 1 else {})
            command = [str(Path(sys.executable).with_name("litepress")), "run", "recipe.yaml", "--no-track"]
            processes.append(subprocess.Popen([*command, "--until", "train"], cwd=folder, env=environment,
                                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for process in processes:
            printed = process.communicate(timeout=900)[0]
            if process.returncode:
                sys.exit(printed)
        journal = next(folder.glob("runs/throughput/*/train/journal.jsonl"))
        events = map(json.loads, journal.read_text().splitlines())
        moments = [event["time"] for event in events if "val_loss" in event.get("values", {})]
        return (3600 // BATCH * BATCH) * (len(moments) - 1) / (moments[-1] - moments[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args().rounds
    share = side_by_side(rounds)
    print(f"litepress trains at {share:.1%} of a bare fit's speed (median epochs of {rounds} rounds; the limit is "
          f"{LIMIT:.0%})", flush=True)
    one, two = throughput(1), throughput(2)
    print(f"one worker {one:,.0f} examples/s, two workers on this machine {two:,.0f} ({two / one:.0%})")
    sys.exit(0 if share >= LIMIT else 1)


if __name__ == "__main__":
    main()
