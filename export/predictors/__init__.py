"""One `predict` over every format: a Keras model, a TFLite file, a SavedModel, an ONNX file, an OpenVINO model."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etils import epy

from export.predictors.bert import BertPredictor, takes_three
from export.predictors.bucketed import BucketedPredictor, lengths
from export.predictors.chunked import ChunkedPredictor
from export.predictors.coreml import CoreMLPredictor
from export.predictors.gpu import GpuPredictor
from export.predictors.keras import KerasPredictor
from export.predictors.litert import LiteRTPredictor
from export.predictors.micro import MicroPredictor
from export.predictors.onnx import ONNXPredictor
from export.predictors.openvino import OpenVINOPredictor
from export.predictors.predictor import BatchPredictor, Predictor, choose
from export.predictors.saved_model import SavedModelPredictor
from export.predictors.streamed import StreamedPredictor, is_streaming
from export.predictors.two_files import TwoFilesPredictor, files
from export.tflite.chunked import ENDING, is_chunked

with epy.lazy_imports():
    import tensorflow as tf

__all__ = ["BatchPredictor", "BertPredictor", "BucketedPredictor", "ChunkedPredictor", "CoreMLPredictor",
           "GpuPredictor", "KerasPredictor", "LiteRTPredictor", "MicroPredictor", "ONNXPredictor", "OpenVINOPredictor",
           "Predictor", "SavedModelPredictor", "StreamedPredictor", "TwoFilesPredictor", "choose", "open_predictor"]

#: Endings of files that are run on so many processor threads as each is told.
BY_ENDING: dict[str, Callable[[Path, int], Predictor]] = {
    ".tflite": LiteRTPredictor, ".onnx": ONNXPredictor, ".xml": OpenVINOPredictor, ".cc": MicroPredictor,
    ".mlpackage": CoreMLPredictor, ENDING: ChunkedPredictor}


def open_predictor(path: Path, threads: int | None = None) -> Predictor:
    """Return the predictor for a file or folder, by its kind.

    Args:
        path: a .tflite, .litertlm, .keras, .onnx, .xml or .cc file, a .mlpackage, a SavedModel's version folder,
            or a folder of a front end and the network behind it.
        threads: processor threads to use; TensorFlow's choice, and one for the others, where not given.

    Raises:
        ValueError: the kind is not known, or what runs it is not installed.
    """
    if path.suffix in BY_ENDING:
        predictor = BY_ENDING[path.suffix](path, threads or 1)
        if isinstance(predictor, LiteRTPredictor) and takes_three(predictor):
            return BertPredictor(predictor)
        if isinstance(predictor, LiteRTPredictor) and lengths(predictor.signatures):
            return BucketedPredictor(predictor)
        if isinstance(predictor, LiteRTPredictor) and is_chunked(predictor.signatures):
            return ChunkedPredictor(path, threads or 1)
        return StreamedPredictor(predictor) if is_streaming(predictor) else predictor
    if (both := files(path)) is not None:
        return TwoFilesPredictor(open_predictor(both.front_end, threads), open_predictor(both.network, threads))
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if path.suffix == ".keras":
        return KerasPredictor(path)
    if (path / "saved_model.pb").exists():
        return SavedModelPredictor(path)
    raise ValueError(f"{path} is not a model that can be run: give a .tflite, .keras or .onnx file, OpenVINO's .xml, "
                     "or a SavedModel's version folder")
