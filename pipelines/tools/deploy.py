"""`litepress deploy` and `litepress models`: from runs, bundles and the registry to TF Serving's model repository."""
from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.delivery.manifest import NAME as MANIFEST
from export.delivery.manifest import Manifest
from export.predictors import IMAGE
from export.targets.saved_model import ENCODED
from pipelines.errors import UserError
from pipelines.tools.publish import bundle_of

if TYPE_CHECKING:
    from serving.deploy.files import Deployment

#: Where a bundle has its SavedModel's numbered versions, and its golden samples.
SAVED_MODEL, SAMPLES = "saved_model", "samples"
#: Pictures that go together in a warm-up request.
WARM_BATCHES = (1, 8, 32)


def on_repository(folder: Path, what: str, *arguments: Any) -> Any:
    """Calls a method of a folder's Repository by its name. Raises UserError where it cannot be done."""
    from serving.repository import Repository, RepositoryError

    try:
        return getattr(Repository(folder), what)(*arguments)
    except RepositoryError as error:
        raise UserError(f"models: {error}") from error
    except OSError as error:
        raise UserError(f"models: {error.strerror or error} ({error.filename})") from error


def listed(folder: Path) -> list[str]:
    """A line for each model of a repository: its versions and labels. Raises UserError where there is none."""
    found = on_repository(folder, "models")
    if not found:
        raise UserError(f"{folder}: there is no model in it; litepress models promote RUN {folder} adds one")
    lines = []
    for name, versions in found.items():
        labels = on_repository(folder, "labels", name)
        on = {number: ", ".join(label for label, place in labels.items() if place == number) for number in versions}
        lines.append(f"{name:<28}  " + "  ".join(f"{number}{f' ({on[number]})' if on[number] else ''}" for number in versions))
    return lines


def promote(place: Path, folder: Path, name: str | None = None, mounted: str = "") -> tuple[str, int]:
    """Makes the SavedModel of a run or a bundle the next version of its model, with warm-up requests of its golden samples.

    Args:
        place: a run's folder, or a bundle's.
        folder: the repository.
        name: of the model; the recipe's where not given.

    Returns:
        The model's name and the version.

    Raises:
        UserError: there is no SavedModel.
    """
    from serving import repository as repositories

    bundle = bundle_of(place)
    versions = sorted((bundle / SAVED_MODEL).glob("[0-9]*"))
    if not versions:
        raise UserError(f"{place}: its bundle holds no SavedModel; add saved_model to export.targets")
    model = name or Manifest.model_validate_json((bundle / MANIFEST).read_bytes()).name
    try:
        return model, repositories.Repository(folder, mounted).promote(model, versions[-1], warm_up(bundle, model))
    except repositories.RepositoryError as error:
        raise UserError(f"models promote: {error}") from error
    except OSError as error:
        raise UserError(f"models promote: {error.strerror or error} ({error.filename})") from error


def warm_up(bundle: Path, model: str) -> dict[str, bytes]:
    """Warm-up requests of a bundle's golden samples, for each signature of its SavedModel: the file's contents by its path."""
    import numpy as np
    import PIL.Image
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from serving import tensors, warmup

    files = [path.read_bytes() for path in sorted((bundle / SAMPLES).glob("*.png"))]
    images = [np.asarray(PIL.Image.open(path)) for path in sorted((bundle / SAMPLES).glob("*.png"))]
    if not files:
        return {}

    def requests() -> Iterator[Any]:
        for count in WARM_BATCHES:
            chosen = [place % len(files) for place in range(count)]
            pictures = np.stack([images[place] if images[place].ndim == 3 else images[place][..., None] for place in chosen])
            for signature, key, value in (("serving_default", IMAGE, pictures),
                                          ("serving_bytes", "image_bytes", np.array([files[place] for place in chosen], object))):
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.model_spec.name = model
                log.predict_log.request.model_spec.signature_name = signature
                tensors.to_proto(value, log.predict_log.request.inputs[key], packed=True)
                yield log
            log = prediction_log_pb2.PredictionLog()
            log.classify_log.request.model_spec.name = model
            log.classify_log.request.model_spec.signature_name = "classify"
            for place in chosen:
                example = tf.train.Example()
                example.features.feature[ENCODED].bytes_list.value.append(files[place])
                log.classify_log.request.input.example_list.examples.append(example)
            yield log

    return {warmup.PLACE.as_posix(): warmup.records(requests())}


def deploy(place: Path, target: Path, deployment: Deployment) -> str:
    """Writes everything a TF Serving fleet needs into a new folder; the model's name.

    Raises:
        UserError: the folder is there, or there is no SavedModel.
    """
    import dataclasses

    from serving.deploy import files

    if target.exists():
        raise UserError(f"{target} is there already. litepress models promote RUN {target / 'models'} adds a version to it")
    if not target.absolute().parent.is_dir():
        raise UserError(f"deploy: there is no folder {target.parent}")
    with tempfile.TemporaryDirectory(prefix=".deploy-", dir=target.absolute().parent) as beside:
        folder = Path(beside) / "whole"
        name, _ = promote(place, folder / "models", deployment.name or None, mounted="/models")
        for path, text in files.render(dataclasses.replace(deployment, name=dns_label(name), repository=str(target / "models"))).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        os.rename(folder, target)
    return name


def dns_label(name: str) -> str:
    """A name as Kubernetes takes it. Raises UserError where it cannot be one."""
    import re

    found = name.lower().replace("_", "-").replace(".", "-")
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?", found):
        raise UserError(f"{name} cannot be a name in Kubernetes: give --name, letters, digits and -, at most 47")
    if found != name:
        raise UserError(f"{name} is no name for Kubernetes; give another with --name, for instance {found}")
    return found


def from_registry(wanted: str, folder: Path, runs_folder: Path) -> tuple[str, int]:
    """Promotes what an alias of MLflow's registry points to, from NAME@ALIAS; the model's name and version. Raises UserError."""
    import mlflow
    from mlflow.exceptions import MlflowException

    from pipelines.reporting import tracking

    name, _, alias = wanted.partition("@")
    alias = alias or tracking.ALIAS
    server = tracking.uri(runs_folder)
    try:
        client = mlflow.MlflowClient(server)
        version = client.get_model_version_by_alias(name, alias)
        with tempfile.TemporaryDirectory(prefix="litepress-registry-") as beside:
            mlflow.set_tracking_uri(server)
            fetched = Path(mlflow.artifacts.download_artifacts(run_id=version.run_id, dst_path=beside, tracking_uri=server))
            zipped = next(fetched.glob("*.zip"), None)
            if zipped is None:
                raise UserError(f"models from-registry: version {version.version} of {name} has no bundle among its artifacts")
            with zipfile.ZipFile(zipped) as archive:
                archive.extractall(fetched / "bundle.whole")
            bundle = next(path.parent for path in (fetched / "bundle.whole").rglob(MANIFEST))
            return promote(bundle, folder, name)
    except MlflowException as error:
        raise UserError(f"models from-registry: {server} has no {name}@{alias}: {' '.join(str(error).split())[:200]}") from error

