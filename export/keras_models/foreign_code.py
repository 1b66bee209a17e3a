"""What a model's file would do besides computing: looked for before anything is loaded.

A Keras file may hold Python functions (a Lambda layer), name modules to import, or point at other files; a SavedModel
may read and write files while it answers. Sources: Keras' own safe mode, which covers Keras 3 alone; the operators that
TensorFlow's `saved_model_cli scan` warns of; TensorFlow's security notes ("models are programs").
"""
from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from etils import epy

from export.errors import first_line
from export.keras_models import file as keras_file
from export.keras_models import other_files

with epy.lazy_imports():
    import h5py
    import keras
    import tf_keras
    from tensorflow.core.protobuf import saved_model_pb2

#: Layers that run code, or load another file, which their configuration holds or names.
LAYERS = {"Lambda": "holds Python code", "__lambda__": "holds Python code", "TorchModuleWrapper": "holds a pickle",
          "TFSMLayer": "loads another model's folder", "JaxLayer": "holds Python code",
          "FlaxLayer": "holds Python code"}
#: Settings of layers that may be a file's name, which loading would read.
FILES = ("vocabulary", "idf_weights")
#: Operators of a graph that call Python, or touch files.
OPERATORS = {"PyFunc": "calls Python", "PyFuncStateless": "calls Python", "EagerPyFunc": "calls Python",
             "ReadFile": "reads files", "WriteFile": "writes files", "PrintV2": "may write files",
             "MatchingFiles": "lists files", "XlaLaunchV2": "runs a compiled program"}
#: Layers of Keras 2 that stand for a function of TensorFlow.
OF_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
#: Functions of TensorFlow that a layer of Keras 2 may stand for: those that compute.
SYMBOLS = ("math.", "nn.", "linalg.", "image.", "__operators__.", "bitwise.", "compat.v1.math.", "compat.v1.nn.",
           "compat.v1.image.", "signal.", "keras.activations.", "keras.backend.", "experimental.numpy.")
PLAIN_SYMBOLS = {
    "abs", "add", "argmax", "argmin", "broadcast_to", "cast", "clip_by_value", "compat.v1.gather", "compat.v1.shape",
    "compat.v1.transpose", "concat", "convert_to_tensor", "cos", "divide", "einsum", "equal", "exp", "expand_dims",
    "fill", "floor", "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal",
    "linspace", "logical_and", "logical_not", "logical_or", "matmul", "maximum", "minimum", "multiply", "negative",
    "norm", "not_equal", "one_hot", "ones_like", "pad", "pow", "range", "rank", "realdiv", "reduce_all", "reduce_any",
    "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat", "reshape",
    "reverse", "roll", "round", "shape", "sigmoid", "sign", "sin", "size", "slice", "sort", "split", "sqrt", "square",
    "squeeze", "stack", "stop_gradient", "strided_slice", "subtract", "tan", "tanh", "tensordot", "tile", "transpose",
    "truediv", "unstack", "where", "zeros_like"}
#: Modules whose classes a configuration may name: Keras' own.
MODULES = ("keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "builtins")
#: TensorFlow's initializers, which tf_keras' own EfficientNetV2 names.
INITIALIZERS = ("tensorflow.python.ops.init_ops_v2", {
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal", "LecunUniform",
    "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros"})
#: A dataset or a member of an archive that is larger than this, in bytes, may be no more than so many times as large as
#: what is stored of it.
LARGE, EXPANSION = 64 * 2**20, 1000
#: The largest configuration that is read, in bytes.
CONFIGURATION = 256 * 2**20
KERAS = (".h5", ".hdf5", ".keras")


class ForeignCodeError(ValueError):
    """A file that would do more than compute, and what to do about it."""


def check(path: Path) -> None:
    """Look at a model's file or folder, of any format, without loading it.

    Raises:
        ForeignCodeError: loading or asking it would run code of its maker, import a module, or read or write a file
            beside it.
        ValueError: it is damaged, or declares to be very much larger than it is.
    """
    other_files.check(path)
    if path.is_dir():
        _check_folder(path)
    elif zipfile.is_zipfile(path):
        _check_archive(path)
    elif h5py.is_hdf5(path):
        _check_hdf5(path, path)
    elif path.suffix in KERAS:
        raise ValueError(f"{path} cannot be read as a Keras model: it is a damaged {path.suffix} file, or none")


def is_in(path: Path) -> bool:
    """Return whether a model's file would do more than compute. Raises ValueError as `check` does."""
    try:
        check(path)
    except ForeignCodeError:
        return True
    return False


def refuse(path: Path, what: str) -> ForeignCodeError:
    """Return the error that says what a file would do."""
    return ForeignCodeError(f"{path} {what}. Nothing of it was run. Replace that by Keras' own layers, or, if you "
                            "trust who made the file, take it as it is with --allow-code (model.allow_code: true in a "
                            "recipe)")


def _check_folder(folder: Path) -> None:
    saved = folder / "saved_model.pb"
    if saved.exists():
        _check_graphs(saved, folder)
    metadata = folder / "keras_metadata.pb"
    if metadata.exists():
        for text in _metadata(metadata):
            check_configuration(_read(text, metadata), folder)


def _check_graphs(saved: Path, folder: Path) -> None:
    for graph in parsed(saved_model_pb2.SavedModel, saved).meta_graphs:
        check_graph(graph.graph_def, folder)


def check_graph(graph: Any, path: Path) -> None:
    """Look at a graph, a GraphDef, and its functions. Raises ForeignCodeError."""
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        if node.op in OPERATORS:
            raise refuse(path, f"has the operator {node.op}, which {OPERATORS[node.op]}")


def _metadata(path: Path) -> Iterator[str]:
    """Give the configurations in Keras' metadata of a SavedModel, as JSON."""
    from tf_keras.protobuf import saved_metadata_pb2

    for node in parsed(saved_metadata_pb2.SavedMetadata, path).nodes:
        yield node.metadata


def parsed(kind: Any, path: Path) -> Any:
    """Return the message of a kind that a file holds. Raises ValueError where it is damaged."""
    try:
        return kind.FromString(path.read_bytes())
    except Exception as error:  # protobuf's own, of several classes
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                parts = PurePosixPath(member.filename.replace("\\", "/"))
                if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
                    raise refuse(path, f"has a member {member.filename}, which leaves the folder it is unpacked to")
                if member.file_size > max(LARGE, EXPANSION * member.compress_size):
                    raise _too_large(path, member.filename, member.file_size, member.compress_size)
            if "config.json" in archive.namelist():
                if archive.getinfo("config.json").file_size > CONFIGURATION:
                    raise ValueError(f"{path} has a configuration of more than {CONFIGURATION // 2**20} MiB")
                check_configuration(_read(archive.read("config.json"), path), path)
            for name in archive.namelist():
                if name.endswith(".h5"):
                    with archive.open(name) as file:
                        _check_hdf5(io.BytesIO(file.read()), path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({first_line(error)})") from error


def _check_hdf5(source: Any, path: Path) -> None:
    try:
        with h5py.File(source, "r") as file:
            for name in ("model_config", "layer_config"):
                if name in file.attrs:
                    check_configuration(_read(file.attrs[name], path), path)
            _check_group(file, path)
    except (OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} is a damaged .h5 file, or none ({first_line(error)})") from error


def _check_group(group: Any, path: Path, depth: int = 0) -> None:
    if depth > 64:
        raise ValueError(f"{path} is a damaged .h5 file, or none: its groups do not end")
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise refuse(path, f"points at another file, {link.filename}, for {group.name.rstrip('/')}/{name}")
        if isinstance(link, h5py.SoftLink):
            continue  # to what is visited by its own name
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item, path, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise refuse(path, f"keeps the values of {item.name} in another file")
            size, stored = item.size * item.dtype.itemsize, item.id.get_storage_size()
            if size > max(LARGE, EXPANSION * stored):
                raise _too_large(path, item.name, size, stored)


def check_configuration(config: Any, path: Path) -> None:
    """Look at the configuration of a Keras model, as JSON has it. Raises ForeignCodeError."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            _check_object(one, path)
            waiting += one.values()


def _check_object(config: dict[str, Any], path: Path) -> None:
    """Look at what may be a serialized layer, or part of one."""
    kind, settings = config.get("class_name"), config.get("config")
    if not isinstance(kind, str):
        return
    settings = settings if isinstance(settings, dict) else {}
    name = settings.get("name") or config.get("name")
    title = f"the {kind} layer {name}" if name else f"a {kind}"
    module, symbol = config.get("module"), settings.get("function")
    if not _registered(config):
        if kind in LAYERS:
            raise refuse(path, f"{LAYERS[kind]} in {title}")
        of_tensorflow = module == INITIALIZERS[0] and kind in INITIALIZERS[1]
        if isinstance(module, str) and module.split(".")[0] not in MODULES and not of_tensorflow:
            raise ForeignCodeError(f"{path} cannot be read as a Keras model: {keras_file.unregistered(kind)}")
    for setting in FILES:
        if isinstance(settings.get(setting), str):
            raise refuse(path, f"reads another file, {settings[setting]}, in {title}")
    if kind in OF_TENSORFLOW and isinstance(symbol, str) and symbol not in PLAIN_SYMBOLS and not symbol.startswith(
            SYMBOLS):
        raise refuse(path, f"calls tf.{symbol} in {title}")


def _registered(config: dict[str, Any]) -> bool:
    """Return whether this process knows the class itself, by the name under which it is registered."""
    names = {config.get("registered_name"), config.get("class_name")} - {None, ""}
    known = {**keras.saving.get_custom_objects(), **tf_keras.saving.get_custom_objects()}
    return any(name in known for name in names)


def _read(text: Any, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its configuration cannot be read ({first_line(error)})") from error


def _too_large(path: Path, name: str, size: int, stored: int) -> ValueError:
    return ValueError(f"{path} declares {size / 1e6:,.0f} MB for {name}, and holds {stored / 1e6:,.3f} MB of them; it "
                      "is damaged, or was made to fill the memory")
