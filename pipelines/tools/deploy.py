"""`litepress deploy` and `litepress models`: from runs, bundles and the registry to TF Serving's model repository."""
from __future__ import annotations

import dataclasses
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.delivery import samples as golden_samples
from export.delivery.manifest import NAME as MANIFEST
from export.delivery.manifest import Manifest
from export.delivery.samples import Samples
from export.signature import Signature
from export.targets import saved_model
from pipelines.errors import UserError
from pipelines.tools.publish import bundle_of

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from serving.deploy.files import Deployment

#: Where a bundle has its SavedModel's numbered versions, and its golden samples.
SAVED_MODEL, SAMPLES = "saved_model", "samples"
#: Examples that go together in a warm-up request.
WARM_BATCHES = (1, 8, 32)
#: What a signature calls its input where that is the encoded form of another, and what a tf.train.Example calls it.
BYTES, ENCODED = "{}_bytes", "{}/encoded"
#: What signatures of texts are asked, of which there are no samples: how a text begins, and how it is gone on with.
TEXT, PIECES = "text", "pieces"
OF_TEXTS: dict[str, Any] = {TEXT: b"a", PIECES: [b"a"], "behind": [0],
                            "count": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0}
#: What signatures are asked that make pictures of a seed: one, by the recipe's settings.
SEED = "seed"
OF_SEEDS: dict[str, Any] = {SEED: 0, "count": 1, "label": -1, "steps": 0, "guidance": -1.0}


def on_repository(folder: Path, method: str, *arguments: Any) -> Any:
    """Call a method of a folder's Repository by its name. Raises UserError where it cannot be done."""
    from serving.repository import Repository, RepositoryError

    try:
        return getattr(Repository(folder), method)(*arguments)
    except RepositoryError as error:
        raise UserError(f"models: {error}") from error
    except OSError as error:
        raise UserError(f"models: {error.strerror or error} ({error.filename})") from error


def listed(folder: Path) -> list[str]:
    """Return a line for each model of a repository: its versions and labels. Raises UserError where there is none."""
    models = on_repository(folder, "models")
    if not models:
        raise UserError(f"{folder}: there is no model in it; litepress models promote RUN {folder} adds one")
    lines = []
    for name, versions in models.items():
        labels = on_repository(folder, "labels", name)
        shown = []
        for number in versions:
            own = ", ".join(label for label, labelled in labels.items() if labelled == number)
            shown.append(f"{number} ({own})" if own else f"{number}")
        lines.append(f"{name:<28}  {'  '.join(shown)}")
    return lines


def promote(source: Path, folder: Path, name: str | None = None, mounted: str = "") -> tuple[str, int]:
    """Make the SavedModel of a run or a bundle the next version of its model, with golden samples to warm it up.

    Args:
        source: a run's folder, or a bundle's.
        folder: the repository.
        name: of the model; the recipe's where not given.
        mounted: where the servers see the repository, if not at its own path.

    Returns:
        The model's name and the version.

    Raises:
        UserError: there is no SavedModel.
    """
    from serving import repository as repositories

    bundle = bundle_of(source)
    versions = sorted((bundle / SAVED_MODEL).glob("[0-9]*"))
    if not versions:
        raise UserError(f"{source}: its bundle holds no SavedModel; add saved_model to export.targets")
    model = name or Manifest.model_validate_json((bundle / MANIFEST).read_bytes()).name
    try:
        requests = warm_up(versions[-1], bundle / SAMPLES, model)
        return model, repositories.Repository(folder, mounted).promote(model, versions[-1], requests)
    except repositories.RepositoryError as error:
        raise UserError(f"models promote: {error}") from error
    except OSError as error:
        raise UserError(f"models promote: {error.strerror or error} ({error.filename})") from error


def warm_up(version: Path, samples_folder: Path, model: str) -> dict[str, bytes]:
    """Return warm-up requests for every signature of a SavedModel that golden samples can feed: contents by path.

    Args:
        version: the SavedModel's folder.
        samples_folder: of golden samples; without one there are no requests.
        model: the name that it is served under.
    """
    from serving import warmup

    if not (samples_folder / golden_samples.NAME).is_file():
        return {}
    samples = golden_samples.read(samples_folder)
    signatures = saved_model.signatures(version)
    requests = list(_requests(signatures.values(), samples, model)) if len(samples) else []
    return {warmup.PLACE.as_posix(): warmup.records(requests)} if requests else {}


def _requests(signatures: Iterable[Signature], samples: Samples, model: str) -> Iterator[Any]:
    """Yield PredictionLog messages: the samples to each signature that takes them, in batches of several sizes."""
    for signature in signatures:
        for count in WARM_BATCHES:
            positions = [number % len(samples) for number in range(count)]
            log = _predict(signature, samples, positions) or _classify(signature, samples, positions)
            if log is None:
                break
            request = getattr(log, str(log.WhichOneof("log_type"))).request
            request.model_spec.name = model
            request.model_spec.signature_name = signature.name
            yield log


def _predict(signature: Signature, samples: Samples, positions: Sequence[int]) -> Any | None:
    """Return a Predict request of samples, as arrays or as the files that hold them, or of texts, or of seeds; None
    where the signature takes something else."""
    from tensorflow_serving.apis import prediction_log_pb2

    from serving import tensors

    files = {BYTES.format(name): paths for name, paths in samples.encoded.items()}
    inputs: dict[str, np.ndarray] = {}
    if not signature.inputs:
        return None
    of_texts = any(tensor.name in (TEXT, PIECES) and tensor.dtype == "string" for tensor in signature.inputs)
    asked = OF_TEXTS if of_texts else OF_SEEDS if any(tensor.name == SEED for tensor in signature.inputs) else {}
    for tensor in signature.inputs:
        if tensor.name in samples.inputs:
            inputs[tensor.name] = samples.sent[tensor.name][list(positions)]
        elif tensor.name in files:
            paths = [files[tensor.name][position] for position in positions]
            inputs[tensor.name] = np.array([path.read_bytes() for path in paths], object)
        elif tensor.name in asked:
            inputs[tensor.name] = np.array([asked[tensor.name]] * len(positions), object)
        else:
            return None
    log = prediction_log_pb2.PredictionLog()
    for name, value in signature.fit(inputs).items():
        tensors.to_proto(value, log.predict_log.request.inputs[name], packed=True)
    return log


def _classify(signature: Signature, samples: Samples, positions: Sequence[int]) -> Any | None:
    """Return a Classify or Regress request of tf.train.Example messages that hold the samples' files, or a feature for
    each input that is one number or word; None where the signature takes something else, or some input is neither."""
    from tensorflow_serving.apis import prediction_log_pb2

    from serving import examples

    outputs = {tensor.name for tensor in signature.outputs}
    classifies = bool(outputs & {examples.CLASSES, examples.SCORES})
    takes_examples = [(tensor.name, tensor.dtype) for tensor in signature.inputs] == [(examples.INPUTS, "string")]
    answers = classifies or examples.OUTPUTS in outputs
    from_files = set(samples.encoded) == set(samples.inputs)
    from_columns = not samples.encoded and all(values.ndim == 1 for values in samples.inputs.values())
    if not takes_examples or not answers or not (from_files or from_columns):
        return None
    log = prediction_log_pb2.PredictionLog()
    request = (log.classify_log if classifies else log.regress_log).request
    for position in positions:
        example = tf.train.Example()
        for name, paths in samples.encoded.items():
            example.features.feature[ENCODED.format(name)].bytes_list.value.append(paths[position].read_bytes())
        for name, values in samples.sent.items() if from_columns else ():
            feature, value = example.features.feature[name], values[position]
            if isinstance(value, bytes):
                feature.bytes_list.value.append(value)
            else:
                feature.float_list.value.append(float(value))
        request.input.example_list.examples.append(example)
    return log


def deploy(source: Path, target: Path, deployment: Deployment) -> str:
    """Write everything a TF Serving fleet needs into a new folder; return the model's name.

    Args:
        source: a run's folder, or a bundle's.

    Raises:
        UserError: the folder is there, or there is no SavedModel.
    """
    from serving.deploy import files

    if target.exists():
        models = target / "models"
        raise UserError(f"{target} is there already. litepress models promote RUN {models} adds a version to it")
    if not target.absolute().parent.is_dir():
        raise UserError(f"deploy: there is no folder {target.parent}")
    with tempfile.TemporaryDirectory(prefix=".deploy-", dir=target.absolute().parent) as beside:
        folder = Path(beside) / "whole"
        name, _ = promote(source, folder / "models", deployment.name or None, mounted="/models")
        named = dataclasses.replace(deployment, name=dns_label(name), repository=str(target / "models"))
        for path, text in files.render(named).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        os.rename(folder, target)
    return name


def dns_label(name: str) -> str:
    """Return a name as Kubernetes takes it. Raises UserError where it cannot be one."""
    label = name.lower().replace("_", "-").replace(".", "-")
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?", label):
        raise UserError(f"{name} cannot be a name in Kubernetes: give --name, letters, digits and -, at most 47")
    if label != name:
        raise UserError(f"{name} is not a name for Kubernetes; give another with --name, for instance {label}")
    return label


def from_registry(requested: str, folder: Path, runs_folder: Path) -> tuple[str, int]:
    """Promote what an alias of MLflow's registry points to; return the model's name and version.

    Args:
        requested: NAME@ALIAS; the alias that runs are given where there is none.

    Raises:
        UserError: there is no such alias, or no bundle.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    from pipelines.reporting import tracking

    name, _, alias = requested.partition("@")
    alias = alias or tracking.ALIAS
    server = tracking.uri(runs_folder)
    try:
        version = mlflow.MlflowClient(server).get_model_version_by_alias(name, alias)
        with tempfile.TemporaryDirectory(prefix="litepress-registry-") as beside:
            mlflow.set_tracking_uri(server)
            fetched = Path(mlflow.artifacts.download_artifacts(
                run_id=version.run_id, dst_path=beside, tracking_uri=server))
            zipped = next(fetched.glob("*.zip"), None)
            if zipped is None:
                raise UserError(f"models from-registry: version {version.version} of {name} has no bundle among its "
                                "artifacts")
            with zipfile.ZipFile(zipped) as archive:
                archive.extractall(fetched / "bundle.whole")
            bundle = next(path.parent for path in (fetched / "bundle.whole").rglob(MANIFEST))
            return promote(bundle, folder, name)
    except MlflowException as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"models from-registry: {server} has no {name}@{alias}: {reason}") from error
