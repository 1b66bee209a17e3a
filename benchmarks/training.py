"""Training throughput of litepress against Keras' own fit, side by side, and of two workers against one.

    .venv/bin/python benchmarks/training.py [--rounds N]

The same model and the same batches go through `pipelines.training.loop.fit`, with its checkpoints, journal and progress, and through a
bare `model.fit`, in turns within one process, so that what else the machine does weighs on both alike. What counts is the time of
an epoch, validation included, without the first, in which graphs are made. Exits 1 below 98 %.

Two workers, each a process on loopback, share one batch; on one machine they also share its cores, so the figure tells what the
exchange of gradients costs, not what two machines give.
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

LIMIT = 0.98
EPOCHS, BATCH = 6, 64
RECIPE = """\
name: throughput
data: {{source: mnist_5k, image: {{size: 32, channels: 1, fit: pad}}, batch: {batch}}}
model: {{builder: lenet5}}
train: {{epochs: {epochs}, strategy: {strategy}}}
"""


def side_by_side(rounds: int) -> float:
    """Prints both rates, round by round; litepress' share of Keras' examples per second, by the median epoch of each."""
    import keras

    from pipelines.engine.journal import Journal, read
    from pipelines.ingest import stream
    from pipelines.ingest.indexing import build_index
    from pipelines.recipe.recipe import Recipe
    from pipelines.training import loop, network

    recipe = Recipe.model_validate({
        "name": "throughput", "data": {"source": "mnist_5k", "image": {"size": 28, "channels": 3}, "batch": BATCH},
        "model": {"builder": "resnet8"}, "train": {"epochs": EPOCHS}})
    recipe.data.source.prepare()
    index = build_index(recipe.data.source, recipe.data.image, validation=0.1, test=0.2, seed=7)
    train, classes = index.splits["train"], len(index.classes)
    examples = stream.examples(recipe.data.source, index, recipe.data.image, "train")
    validation = stream.evaluation_batches(stream.examples(recipe.data.source, index, recipe.data.image, "validation"),
                                           classes=classes, batch=256)
    steps = train.examples // BATCH

    def batches(epoch: int = 0):
        return stream.training_batches(examples, classes=classes, batch=BATCH, augmentations=[], seed=7, first_epoch=epoch, epochs=EPOCHS)

    def model():
        keras.utils.set_random_seed(7)
        return network.build(recipe.model, index.shape, classes)

    def ours() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            loop.fit(model(), recipe.train, batches=batches, steps=steps, validation=validation, class_counts=train.class_counts,
                     folder=Path(folder), journal=Journal(path), progress=lambda *told: None)
            return _between([event["time"] for event in read(path) if event["event"] == "metrics"])

    def bare() -> list[float]:
        fresh, moments = model(), []
        rate = keras.optimizers.schedules.CosineDecay(1e-3, steps * EPOCHS)
        fresh.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), keras.losses.CategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"])
        fresh.fit(batches(), epochs=EPOCHS, steps_per_epoch=steps, validation_data=validation, verbose=0,
                  callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: moments.append(time.time()))])
        return _between(moments)

    times: dict = {ours: [], bare: []}
    for number in range(rounds):
        for one in ((ours, bare), (bare, ours))[number % 2]:
            found = one()
            times[one] += found
            name, rate = "litepress" if one is ours else "bare fit ", steps * BATCH / statistics.median(found)
            print(f"round {number + 1}: {name} {rate:,.0f} examples/s", flush=True)
    return statistics.median(times[bare]) / statistics.median(times[ours])


def _between(moments: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(moments)]


def throughput(workers: int) -> float:
    """Examples per second of a whole training by so many workers on loopback, its first epoch left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(RECIPE.format(batch=BATCH, epochs=6, strategy="multi_worker" if workers > 1 else "one"))
        hosts = [f"127.0.0.1:{_free_port()}" for _ in range(workers)]
        processes = []
        for index in range(workers):
            config = {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})}
            processes.append(subprocess.Popen(
                [str(Path(sys.executable).with_name("litepress")), "run", "recipe.yaml", "--no-track", "--until", "train"], cwd=folder,
                env=os.environ | (config if workers > 1 else {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for process in processes:
            said = process.communicate(timeout=900)[0]
            if process.returncode:
                sys.exit(said)
        journal = next(folder.glob("runs/throughput/*/train/journal.jsonl"))
        moments = [event["time"] for event in map(json.loads, journal.read_text().splitlines()) if "val_loss" in event.get("values", {})]
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
    print(f"litepress trains at {share:.1%} of a bare fit's speed (median epochs of {rounds} rounds; the limit is {LIMIT:.0%})", flush=True)
    one, two = throughput(1), throughput(2)
    print(f"one worker {one:,.0f} examples/s, two workers on this machine {two:,.0f} ({two / one:.0%})")
    sys.exit(0 if share >= LIMIT else 1)


if __name__ == "__main__":
    main()
