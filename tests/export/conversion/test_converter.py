"""What TensorFlow's converter refuses, in a line."""
import keras
import pytest

from export.conversion import convert, converter
from pipelines.tools.inspect_model import functions_of


def test_operators_that_tflite_does_not_have_are_named(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 4, 1), name="x"), keras.layers.MaxPooling3D()])
    convert.float_graph(model, functions_of, tmp_path / "graph")
    with pytest.raises(ValueError, match="TFLite has no operator for TensorFlow's MaxPool3D"):
        convert.convert(tmp_path / "graph", "float32")


@pytest.mark.parametrize(("message", "expected"), [
    ("<unknown>:0: error: loc(x): 'tf.Transpose' op x should be of the same rank with y, got 2\nmore",
     "TensorFlow's converter fails at Transpose: x should be of the same rank with y, got 2"),
    ("'tf.B' op is neither a custom op nor a flex op\n'tf.A' op is neither a custom op nor a flex op",
     "TFLite has no operator for TensorFlow's A, B"),
    ("something else", "")])
def test_its_messages_are_one_line(message, expected):
    assert converter.refusal(message) == expected
