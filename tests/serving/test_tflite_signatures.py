"""TFLite files without signatures are served by their tensors' names, and those of old converters by their metadata."""
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from export.tflite import file as tflite_file
from serving.client import GrpcClient
from serving.embedded import running
from serving.errors import ServingError
from serving.flags import Options
from serving.servable import TFLiteServable
from tests.serving.conftest import write_tflite

ROWS = np.array([[1, 2], [3, 4]], "float32")


def stripped(folder, stated=None):
    """Write a version folder whose file states no signature, or states these in its metadata."""
    write_tflite(folder)
    path = folder / "model.tflite"
    model = tflite_file.read(path.read_bytes())
    graph = model.subgraphs[0]
    names = [graph.tensors[number].name.decode() for number in (graph.inputs[0], graph.outputs[0])]
    model.signatureDefs = None
    if stated is not None:
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(flexbuffers.Dumps({key: make(*names).SerializeToString()
                                                       for key, make in stated.items()}), "uint8")
        model.buffers.append(buffer)
        entry.name, entry.buffer = b"signature_defs_metadata", len(model.buffers) - 1
        model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(tflite_file.write(model))
    return [name.removesuffix(":0") for name in names]


def signature(first, last):
    made = SignatureDef()
    made.inputs["rows"].name, made.outputs["sums"].name = first, last
    return made


def test_a_file_without_signatures_is_asked_by_the_names_of_its_tensors(tmp_path):
    first, last = stripped(tmp_path / "base" / "1")
    with running(model_name="lite", model_base_path=str(tmp_path / "base")) as server, GrpcClient(
            server.grpc, "lite") as client:
        answers = client.predict({first: ROWS})
    np.testing.assert_array_equal(answers[last], ROWS + 1)


def test_signatures_in_the_metadata_of_an_old_converter_hold(tmp_path):
    stripped(tmp_path / "1", {"sums": signature})
    servable = TFLiteServable(tmp_path / "1", Options())
    assert set(servable.signatures) == {"sums", "serving_default"}
    for name in servable.signatures:
        np.testing.assert_array_equal(servable.run(name, {"rows": ROWS}, ["sums"])["sums"], ROWS + 1)


def test_metadata_that_names_a_tensor_that_is_not_there_is_refused(tmp_path):
    stripped(tmp_path / "1", {"sums": lambda first, last: signature("nowhere", last)})
    with pytest.raises(ServingError, match="signature sums names the tensor nowhere, which the file does not have"):
        TFLiteServable(tmp_path / "1", Options())
