"""Models that are asked in this process, whatever their format."""
from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.delivery import manifest
from export.delivery.manifest import Manifest
from export.predictors import open_predictor
from export.signature import DEFAULT, Arrays, Signature, Tensor, shown
from pipelines.engine import runs, workers
from pipelines.errors import UserError
from pipelines.tools import predict, zipped_bundle

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor as AnyPredictor

#: The kind of device whose recommended model of a bundle is taken.
CPU = "phone_cpu"


class Predictor:
    """A model in this process: `predict` takes arrays whose first axis counts the examples, and gives such.

    Args:
        path: of its file or folder.
        model: what runs it.
        kept: the unpacked bundle that it lies in, if it lies in one.
    """

    def __init__(self, path: Path, model: AnyPredictor, kept: tempfile.TemporaryDirectory[str] | None = None):
        self.path = path
        self._model, self._kept = model, kept

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Return the ways to call it, by name."""
        return self._model.signatures

    @property
    def signature(self) -> Signature:
        """Return the way that it is called where none is named."""
        return predict.main_signature(self._model)

    def predict(self, inputs: Arrays | np.ndarray, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return outputs by name, (examples, …) each.

        Args:
            inputs: by name; or the only one.
            signature: the way to call it.

        Raises:
            UserError: there is no such signature, or the inputs are not what it takes.
        """
        try:
            return self._model.predict(named(inputs, self.signatures.get(signature, self.signature)), signature)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from error

    def __repr__(self) -> str:
        return "\n".join([f"Predictor of {self.path}", *(f"  {what:<8} {tensor}" for what, tensor in _tensors(self))])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{what}</td><td style='text-align: left'>{html.escape(tensor)}</td></tr>"
                       for what, tensor in _tensors(self))
        return f"<p><b>{html.escape(str(self.path))}</b></p><table>{rows}</table>"


def opened(path: Path, name: str | None = None) -> Predictor:
    """Return the model that a path stands for, see `litepress.predictor`. Raises UserError."""
    if path.suffix.lower() == zipped_bundle.ENDING:
        kept = tempfile.TemporaryDirectory()
        file = _of_bundle(zipped_bundle.unpacked(path, Path(kept.name)), path, name)
        return Predictor(file, _opened(file), kept)
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder. Give a run's folder, a .tflite or .keras file, "
                        "or a SavedModel")
    if (path / runs.RECORD).exists():
        file = predict.best_file(path, name)
    elif (path / manifest.NAME).is_file():
        file = _of_bundle(path, path, name)
    elif name is not None:
        raise UserError(f"{path} is one model; leave the name {name} out, or give a run or a bundle")
    else:
        file = path
    return Predictor(file, _opened(file))


def named(inputs: Arrays | np.ndarray, signature: Signature) -> Arrays:
    """Return inputs by name. Raises ValueError where one array is given to a model that takes several."""
    if isinstance(inputs, Mapping):
        return inputs
    if len(signature.inputs) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise ValueError(f"it takes {names}; give a mapping of these names to arrays")
    return {signature.inputs[0].name: np.asarray(inputs)}


def _opened(path: Path) -> AnyPredictor:
    if path.suffix == ".keras" and (backend := _backend()) != "tensorflow":
        raise UserError(f"{path}: Keras runs on {backend} in this process, and a .keras file is asked on TensorFlow; "
                        "set KERAS_BACKEND=tensorflow before Keras is imported, or give a .tflite file")
    try:
        with workers.quiet():
            return open_predictor(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def _backend() -> str:
    with workers.quiet():  # TensorFlow's import prints a page
        import keras

        return keras.backend.backend()


def _of_bundle(folder: Path, title: Path, name: str | None) -> Path:
    """Return a model's file in a bundle's folder. Raises UserError where there is none of that name."""
    listed = Manifest.model_validate_json((folder / manifest.NAME).read_bytes())
    chosen = name or listed.recommended.get(CPU)
    model = next((one for one in listed.models if chosen in (None, one.name)), None)
    if model is None:
        raise UserError(f"{title}: it has no model {chosen}; there are "
                        f"{', '.join(one.name for one in listed.models) or 'none'}")
    return folder / model.path


def _tensors(predictor: Predictor) -> list[tuple[str, str]]:
    signature = predictor.signature

    def line(tensor: Tensor) -> str:
        meaning = f": {tensor.meaning}" if tensor.meaning else ""
        return f"{tensor.name} {shown((None, *tensor.shape))} {tensor.dtype}{meaning}"

    return [*(("takes", line(tensor)) for tensor in signature.inputs),
            *(("gives", line(tensor)) for tensor in signature.outputs)]
