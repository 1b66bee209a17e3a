"""Models that are taken as a graph, and not layer by layer: .tflite and .onnx files, SavedModel folders without Keras,
frozen graphs, and Keras files whose code may be run or that do not cross to Keras 3."""
from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.conversion import converter
from export.errors import first_line
from export.frameworks.program import Program
from export.keras_models import any_number, foreign_code, frozen, other_files
from export.keras_models.imported import plain
from export.keras_models.load import is_keras, load, load_original
from export.keras_models.namesakes import BridgeError
from export.onnx_models import saved as onnx_saved
from export.onnx_models.reader import ENDING as ONNX
from export.onnx_models.reader import Layout
from export.predictors import Predictor, SavedModelPredictor, choose, open_predictor
from export.signature import DEFAULT, Signature, Tensor, shown
from export.tflite import edit, signatures
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import tensorflow as tf
    import tf_keras

if TYPE_CHECKING:
    import keras

#: Ending of files that are graphs already.
TFLITE = ".tflite"


def layer_by_layer(path: Path, allow_code: bool = False) -> tuple[keras.Model | None, str]:
    """Return a model that Keras saved, layer by layer, as `load` does; None and why where it is taken as a graph: Keras
    did not save it, it holds code of its maker which may be run, or it is of Keras 2 and does not cross to Keras 3.

    Raises:
        ForeignCodeError, ValueError: see `load`.
    """
    if not is_keras(path):
        return None, "it is not a Keras model"
    if allow_code and path.exists() and foreign_code.is_in(path):
        return None, "it holds code of its maker"
    try:
        return load(path), ""
    except BridgeError as error:
        return None, str(error).split(": ")[0]


def as_tflite(path: Path, allow_code: bool = False, layout: Layout | None = None) -> bytes:
    """Return a classifier of images that is taken as a graph as a float32 TFLite file; of a SavedModel, from `image` to
    `logits`.

    Args:
        path: a .tflite, .onnx or .pb file, a SavedModel folder, or with `allow_code` a Keras file whose code is run:
            call this in a process of its own.
        layout: of an .onnx file, see `export.onnx_models.saved.export`.

    Raises:
        ForeignCodeError: it would do more than compute, and that is not allowed.
        ValueError: it cannot be read, or takes and gives something else.
    """
    with _as_saved(path, allow_code, layout, batch=1) as saved:
        if saved.suffix == TFLITE:
            return saved.read_bytes()
        loaded, signature, main = _loaded(saved, path)
        name, specification, output = _image_and_output(signature, path)
        if _is_of_tensorflow_1(loaded):
            return _as_it_is(saved, path, main)
        return _converted(loaded, path, {"image": tf.TensorSpec((1, *specification.shape[1:]), tf.float32, "image")},
                          lambda image: {"logits": signature(**{name: tf.cast(image, specification.dtype)})[output]})


def as_named_tflite(path: Path, inputs: Sequence[Tensor], allow_code: bool = False,
                    layout: Layout | None = None) -> bytes:
    """Return a model that is taken as a graph, whatever it takes and gives, as a float32 TFLite file for one example,
    whose signature has the names of `signature_of`.

    Args:
        inputs: the same as the model's, in the types and sizes that they are given in.

    Raises:
        ForeignCodeError, ValueError: see `as_tflite`.
    """
    with _as_saved(path, allow_code, layout, batch=1) as saved:
        if saved.suffix == TFLITE:
            try:
                return edit.renamed(saved.read_bytes(), plain)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        loaded, signature, main = _loaded(saved, path)
        if _is_of_tensorflow_1(loaded):
            return edit.renamed(_as_it_is(saved, path, main), plain)
        return _converted(loaded, path, *_named(signature, inputs, 1))


def served(path: Path, folder: Path, inputs: Sequence[Tensor], allow_code: bool = False,
           layout: Layout | None = None) -> bool:
    """Write a model that is taken as a graph as a SavedModel, for batches of any size where it takes them, whose
    signature has the names of `signature_of`; return whether it can be one.

    Args:
        folder: to be made.
        inputs: see `as_named_tflite`.

    Raises:
        ForeignCodeError, ValueError: see `as_tflite`.
    """
    with _as_saved(path, allow_code, layout) as saved:
        if saved.suffix == TFLITE:
            return False
        loaded, signature, _ = _loaded(saved, path)
        if _is_of_tensorflow_1(loaded):
            return False
        specifications, call = _named(signature, inputs, None)
        if (together := any_number.called(loaded, signature, call)) is not None:
            _save(loaded, folder, specifications, together)
        else:
            _save(loaded, folder, *_named(signature, inputs, 1))
    return True


def signature_of(path: Path, allow_code: bool = False, layout: Layout | None = None) -> Signature:
    """Return what a model that is taken as a graph takes and gives in the signature that is called by default, in its
    order and under plain names.

    Raises:
        ForeignCodeError, ValueError: see `as_tflite`; or two inputs or outputs have one name.
    """
    with _as_saved(path, allow_code, layout) as saved, _titled(saved, path):
        own = _own_signature(saved)
    renamed = [[tensor.model_copy(update={"name": plain(tensor.name)}) for tensor in tensors]
               for tensors in (own.inputs, own.outputs)]
    if any(len({tensor.name for tensor in tensors}) < len(tensors) for tensors in renamed):
        raise ValueError(f"{path} has two inputs or two outputs of one name")
    return Signature(inputs=tuple(renamed[0]), outputs=tuple(renamed[1]))


def answers(path: Path, inputs: Sequence[Any], allow_code: bool = False, layout: Layout | None = None,
            program: Program | None = None) -> list[Any]:
    """Return what the model answers where it is at home, output by output: a .tflite file on LiteRT, an .onnx file on
    ONNX Runtime, anything else in TensorFlow.

    Args:
        inputs: (examples, …) each, in the order of `signature_of`.
        program: the same model in the library that it was made with, which is asked instead.

    Raises:
        ForeignCodeError, ValueError: see `as_tflite`; or it does not take these inputs.
    """
    with _as_saved(path, allow_code, layout) as saved:
        with _titled(saved, path):
            predictor = open_predictor(saved)
            own = _own_signature(saved, predictor)
        named = {tensor.name: values for tensor, values in zip(own.inputs, inputs, strict=True)}
        try:
            if path.suffix == ONNX:
                answered = onnx_saved.answers(program or onnx_saved.ONNXFile(path), named, layout)
            else:
                answered = program.answers(named) if program else predictor.predict(named, own.name)
        except (tf.errors.OpError, RuntimeError, ValueError, TypeError) as error:
            raise ValueError(f"{path} does not take these inputs: {first_line(error)}") from error
        return [answered[tensor.name] for tensor in own.outputs]


def _own_signature(saved: Path, predictor: Predictor | None = None) -> Signature:
    """Return the signature that is called where none is named. Raises ValueError where there is none."""
    if saved.suffix == TFLITE:
        return signatures.main(saved.read_bytes()).signature()
    opened = predictor or open_predictor(saved)
    return _chosen(opened) if isinstance(opened, SavedModelPredictor) else choose(opened.signatures)


def _chosen(opened: SavedModelPredictor) -> Signature:
    """Return the signature of a SavedModel that is called where none is named. Raises ValueError where that is not
    clear, or takes a batch of another size than one."""
    if len(opened.signatures) > 1 and DEFAULT not in opened.signatures:
        raise ValueError(f"it has the signatures {', '.join(opened.signatures)}, and none is called {DEFAULT}; "
                         "export it with the one to press by that name")
    own = choose(opened.signatures)
    sizes = {spec.shape[0] for spec in opened.functions[own.name].structured_input_signature[1].values()
             if spec.shape.rank}
    if others := sizes - {None, 1}:
        raise ValueError(f"it takes batches of {', '.join(map(str, sorted(others)))} examples alone; export it for any "
                         "number")
    return own


@contextlib.contextmanager
def _titled(saved: Path, title: Path) -> Iterator[None]:
    """Let a ValueError name the model as the user does."""
    try:
        yield
    except ValueError as error:
        message = str(error).replace(str(saved), str(title))
        raise ValueError(message if str(title) in message else f"{title}: {message}") from error


@contextlib.contextmanager
def _as_saved(path: Path, allow_code: bool, layout: Layout | None = None, batch: int | None = None) -> Iterator[Path]:
    """Give the model as a .tflite file or a SavedModel folder, looked at before.

    Args:
        batch: how many examples an .onnx file takes at a time; any number where not given.
    """
    if layout is not None and path.suffix != ONNX:
        raise ValueError(f"{path} is not an .onnx file; a layout is for those alone")
    if allow_code:
        other_files.check(path)
    if not allow_code and path.exists():
        foreign_code.check(path)
    if path.suffix == TFLITE and path.is_file():
        with _titled(path, path):
            if tflite_file.is_quantized(path.read_bytes()):
                raise ValueError("it is quantized already; give the float file, or the model that it was made of")
        yield path
    elif (path / "saved_model.pb").exists():
        yield path
    elif path.exists() and is_keras(path):
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "graph"
            _export(load_original(path, allow_code), exported)
            yield exported
    elif path.suffix == frozen.ENDING and path.is_file() and path.name != "saved_model.pb":
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "graph"
            frozen.export(path, exported, allow_code)
            yield exported
    elif path.suffix == ONNX and path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "graph"
            onnx_saved.export(path, exported, layout, batch)
            yield exported
    else:
        raise ValueError(other_files.why_not(path))


def _export(model: Any, folder: Path) -> None:
    """Write a Keras model of either library as a SavedModel, whose inputs and outputs have the names of the model's."""
    if not isinstance(model, tf_keras.Model) or not model.output_names:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a page
            model.export(str(folder))
        return
    module = tf.Module()
    module.model = model
    specifications = {plain(name): tf.TensorSpec(tensor.shape, tensor.dtype, plain(name))
                      for name, tensor in zip(model.input_names, model.inputs, strict=True)}

    def call(**given: Any) -> dict[str, Any]:
        taken = tf.nest.pack_sequence_as(model._nested_inputs, [given[name] for name in specifications])
        answers = tf.nest.flatten(model(taken, training=False))
        return {plain(name): answer for name, answer in zip(model.output_names, answers, strict=True)}

    module.call = tf.function(call, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={DEFAULT: module.call.get_concrete_function(**specifications)})


def _loaded(folder: Path, title: Path) -> tuple[Any, Any, str]:
    """Return what is in a SavedModel folder, the function that is called where none is named, and its name. Raises
    ValueError."""
    with _titled(folder, title):
        opened = SavedModelPredictor(folder)
        name = _chosen(opened).name
        return opened.loaded, opened.functions[name], name


def _is_of_tensorflow_1(loaded: Any) -> bool:
    """Return whether what was loaded keeps its weights as TensorFlow 1 did, which cannot be saved again."""
    graph = getattr(loaded, "graph", None)
    return isinstance(graph, tf.Graph) and any(one.type in frozen.REFERENCES for one in graph.get_operations())


def _as_it_is(folder: Path, title: Path, name: str) -> bytes:
    """Return a signature of a SavedModel as a float32 TFLite file, under its own names. Raises ValueError."""
    return _tflite(tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[name]), title)


def _tflite(made: Any, title: Path) -> bytes:
    """Return what a converter makes. Raises ValueError."""
    try:
        return converter.run(made)
    except ValueError as error:
        raise ValueError(f"{title} cannot be made a TFLite file: {error}") from error


def _converted(loaded: Any, title: Path, specifications: dict[str, Any], call: Any) -> bytes:
    """Return a function of what was loaded as a float32 TFLite file, with a signature by its names. Raises
    ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        _save(loaded, Path(folder), specifications, call)
        return _tflite(tf.lite.TFLiteConverter.from_saved_model(folder), title)


def _save(loaded: Any, folder: Path, specifications: dict[str, Any], call: Any) -> None:
    """Write a function of what was loaded as a SavedModel."""
    module = tf.Module()
    module.loaded = loaded
    module.call = tf.function(call, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={
        DEFAULT: module.call.get_concrete_function(**specifications)})


def _named(signature: Any, inputs: Sequence[Tensor], batch: int | None) -> tuple[dict[str, Any], Any]:
    """Return the specifications of a signature's inputs under plain names, and a function that calls it by these."""
    sizes = {tensor.name: tensor for tensor in inputs}
    own = signature.structured_input_signature[1]
    specifications = {plain(name): tf.TensorSpec((batch, *sizes[plain(name)].shape), own[name].dtype, plain(name))
                      for name in own}

    def answered(**tensors: Any) -> dict[str, Any]:
        return {plain(name): value for name, value in signature(**{
            name: tensors[plain(name)] for name in own}).items()}

    return specifications, answered


def _image_and_output(signature: Any, folder: Path) -> tuple[str, tf.TensorSpec, str]:
    """Return the name and specification of the image that a signature takes, and the name of its logits. Raises
    ValueError."""
    inputs = list(signature.structured_input_signature[1].items())
    outputs = list(signature.structured_outputs)
    if len(inputs) != 1 or (len(outputs) != 1 and "logits" not in outputs):
        names = ", ".join(name for name, _ in inputs)
        raise ValueError(f"{folder} must take one image and give one output, or several of which one is called "
                         f"logits; it takes {names} and gives {', '.join(outputs)}")
    name, specification = inputs[0]
    shape = specification.shape.as_list()
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"{folder} takes {shown(shape)}; it must be images of a known size, (batch, height, width, "
                         "channels)")
    return name, specification, "logits" if "logits" in outputs else outputs[0]
