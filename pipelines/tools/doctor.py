"""`litepress doctor`: what is installed here, and what it can do."""
from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from etils import epy

from pipelines.engine import workers
from pipelines.tools import listing

with epy.lazy_imports():
    import tensorflow as tf

LIBRARIES = ("litepress", "tensorflow", "keras", "ai-edge-litert", "tensorflow-datasets", "mlflow", "numpy")


def lines() -> Iterator[str]:
    """Yield the lines to print."""
    yield f"python      {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in LIBRARIES:
        yield f"{'':<12}{name} {importlib.metadata.version(name)}"
    yield "devices     " + ", ".join(workers.call(devices, what="doctor"))
    yield f"disk        {shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free here"
    folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    yield f"data        {folder} (TensorFlow Datasets keeps what it prepares there; TFDS_DATA_DIR changes it)"
    yield f"tracking    {os.environ.get('MLFLOW_TRACKING_URI', 'runs/mlflow.db (MLFLOW_TRACKING_URI changes it)')}"
    for number, (name, state, summary) in enumerate(listing.targets()):
        yield f"{'targets' if not number else '':<12}{name:<16} {state:<6} {summary}"


def devices() -> list[str]:
    """Return the devices that TensorFlow sees, with the number of processors."""
    names = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    return [f"{name} ({os.cpu_count()} processors)" if name.startswith("CPU") else name for name in names]
