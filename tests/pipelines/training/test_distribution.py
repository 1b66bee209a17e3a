"""Training on several devices and by workers on loopback: the same curve as one, and a clear end when one dies."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine import journal
from pipelines.engine import workers as engine_workers
from pipelines.errors import UserError
from pipelines.training import distribution
from pipelines.training.optimizers import Optimizer
from tests.pipelines.training import small

RECIPE = """
name: shared
data:
  source: digits
  image: {size: 32, channels: 1}
  augment: [{shift: 0.1}]
  batch: 64
model: {builder: lenet5}
train:
  epochs: 4
  optimizer: {sgd: {momentum: 0.9}}
  schedule: {cosine: 0.01}
"""


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    (folder / "recipe.yaml").write_text(RECIPE)
    command = [str(Path(sys.executable).with_name("litepress")), "run", "recipe.yaml", "--no-track", "--until", "train"]
    return subprocess.Popen(
        [*command, *arguments], cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def workers(folder: Path, *arguments: str) -> list[subprocess.Popen]:
    addresses = free_addresses(2)
    return [launch(folder, *arguments, TF_CONFIG=json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}})) for number in range(2)]


def losses(folder: Path) -> list[float]:
    series = journal.series(folder / "runs/shared/latest/train/journal.jsonl")["loss"]
    return [series[epoch] for epoch in sorted(series)]


def train(folder: Path, strategy: str, environment: dict[str, str], taught: bool = False) -> None:
    """Train a small regularized model in a process of its own, beside a teacher or alone; keep its weights."""
    os.environ.update(environment)
    import keras

    from export.signature import Tensor
    from pipelines.training import loop
    from pipelines.training.distillation import Distillation
    from pipelines.training.learners.distilled import distilled
    from pipelines.training.section import TrainSection

    shared = distribution.Distribution(strategy)  # first of all: devices are set up once
    keras.utils.set_random_seed(3)

    def build() -> keras.Model:
        row = keras.Input((6,), name="row")
        x = keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(0.05))(row)
        x = keras.layers.BatchNormalization()(x)
        return keras.Model(row, keras.layers.Dense(3, name="logits")(x))

    model = shared.model(build, synchronized=True)
    rows = np.random.default_rng(0).normal(size=(96, 6)).astype("float32")
    labels = np.eye(3, dtype="float32")[rows[:, :3].argmax(axis=1)]
    settings = TrainSection.model_validate(
        {"epochs": 3, "optimizer": {"sgd": {"momentum": 0.9}}, "schedule": {"constant": 0.05}, "l2": 0.01})
    training = small.training(folder, settings, {"row": rows}, {"label": labels}, batch=16, distribution=shared)
    if taught:
        logits = Tensor(name="logits", dtype="float32", shape=(3,), role="logits")
        teacher = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        training.objective = distilled(training.objective, teacher, Distillation(), ["row"], [logits])
    loop.fit(model, training)
    np.savez(folder / "weights.npz", *shared.keras_model(model).get_weights())


def in_processes(folders: list[Path], strategy: str, environments: list[dict[str, str]], taught: bool = False) -> None:
    processes = []
    for folder, environment in zip(folders, environments, strict=True):
        folder.mkdir()
        processes.append(engine_workers.server().Process(target=train, args=(folder, strategy, environment, taught)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def check_alike(one: Path, other: Path) -> None:
    """Check that two trainings had the same metrics in every epoch, and ended with the same weights."""
    ours, theirs = (journal.series(folder / "journal.jsonl") for folder in (one, other))
    assert set(ours) == set(theirs) >= {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in ours.items():
        np.testing.assert_allclose(list(values.values()), list(theirs[name].values()), rtol=1e-4, err_msg=name)
    mine, yours = np.load(one / "weights.npz"), np.load(other / "weights.npz")
    for name in mine.files:
        np.testing.assert_allclose(mine[name], yours[name], atol=1e-5)


def test_two_replicas_learn_what_one_device_does(tmp_path):
    """Loss, regularization and penalty count once, whatever the number of devices."""
    in_processes([tmp_path / "one"], "one", [{}])
    in_processes([tmp_path / "two"], "mirrored", [{distribution.VIRTUAL: "2"}])
    check_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_replicas_learn_from_a_teacher_what_one_device_does(tmp_path):
    in_processes([tmp_path / "one"], "one", [{}], taught=True)
    in_processes([tmp_path / "two"], "mirrored", [{distribution.VIRTUAL: "2"}], taught=True)
    check_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_workers_learn_what_one_device_does(tmp_path):
    in_processes([tmp_path / "one"], "one", [{}])
    cluster = {"worker": free_addresses(2)}
    environments = [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
                    for index in range(2)]
    in_processes([tmp_path / "first", tmp_path / "second"], "multi_worker", environments)
    check_alike(tmp_path / "one", tmp_path / "first")
    check_alike(tmp_path / "first", tmp_path / "second")


def finish(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return printed


@pytest.mark.slow
def test_two_workers_have_the_loss_curve_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    finish(launch(one))
    printed = [finish(process) for process in workers(two)]
    assert "worker 1 of 2: trains with the others" in printed[1]
    assert len(losses(one)) == 4 and losses(one)[-1] < 0.7 * losses(one)[0]
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-3)


@pytest.mark.slow
def test_two_virtual_devices_have_the_loss_curve_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    finish(launch(one))
    finish(launch(two, "--set", "train.strategy=mirrored", LITEPRESS_VIRTUAL_CPUS="2"))
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-3)


@pytest.mark.slow
def test_when_a_worker_dies_the_other_says_so_and_all_go_on_from_the_checkpoint(tmp_path):
    settings = ("--set", "train.epochs=40")
    first, second = workers(tmp_path, *settings)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/.store/.work/train-*/checkpoint.npz")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(second.pid, signal.SIGKILL)
    printed, _ = first.communicate(timeout=200)
    assert first.returncode == 3, printed
    assert "worker 0 of 2 lost another worker. Start all of them again: the training goes on after epoch" in printed
    for process in workers(tmp_path, *settings):
        finish(process)
    events = journal.read(tmp_path / "runs/shared/latest/train/journal.jsonl")
    notes = [event for event in events if event["event"] == "note"]
    assert any("going on after epoch" in str(note) for note in notes)
    assert len(losses(tmp_path)) == 40


@pytest.mark.parametrize("written", [
    "no json", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 3}}'])
def test_a_tf_config_that_cannot_be_read_is_refused(monkeypatch, written):
    monkeypatch.setenv("TF_CONFIG", written)
    with pytest.raises(UserError, match="TF_CONFIG cannot be read; it should look like"):
        distribution.role()


def test_a_chief_is_the_first_worker(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    assert distribution.role() == distribution.Role(2, 3)
    assert distribution.resolved("auto") == "multi_worker"


@pytest.mark.parametrize(("strategy", "message"), [
    ("mirrored", "at least two devices"), ("multi_worker", "at least two workers"), ("tpu", "finds no TPU")])
def test_devices_that_are_not_there_are_asked_for(monkeypatch, strategy, message):
    for name in ("TF_CONFIG", "TPU_NAME", distribution.VIRTUAL):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=message):
        distribution.Distribution(strategy)


@pytest.mark.parametrize("written", ["lamb", "muon", {"sgd": {"accumulate": 2}}])
def test_an_optimizer_that_several_workers_cannot_have_is_refused(written):
    import tf_keras

    with pytest.raises(UserError, match="does not go with several workers"):
        Optimizer.read(written).build(0.1, tf_keras)


def test_the_optimizers_that_only_keras_3_has_are_known():
    import tf_keras

    from pipelines.training.optimizers import KERAS_3_ONLY

    missing = {name for name, choice in Optimizer.choices.items()
               if not hasattr(tf_keras.optimizers, choice.keras_name)}
    assert missing == KERAS_3_ONLY
