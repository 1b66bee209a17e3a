"""Explain: what it does not go with."""
import keras
import pytest

from export.conversion import convert
from pipelines.errors import UserError
from pipelines.tools.explain import explain_file
from pipelines.tools.inspect_model import functions_of


@pytest.mark.parametrize(("shapes", "named"), [
    ({"image": (6, 6, 3), "age": (2,)}, "age, image"), ({"age": (2,)}, "age")])
def test_models_of_other_things_than_one_image_are_refused(shapes, named, tmp_path):
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    flat = [keras.layers.Flatten()(value) for value in inputs.values()]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    convert.float_graph(keras.Model(inputs, keras.layers.Dense(2, name="logits")(joined)), functions_of,
                        tmp_path / "graph")
    path = tmp_path / "model.tflite"
    path.write_bytes(convert.convert(tmp_path / "graph", "float32"))
    with pytest.raises(UserError, match=r"explain: .* only models of one image are explained so far") as raised:
        explain_file(path, path, "digits", 4, None, "0..255")
    taken = str(raised.value).partition(" takes ")[2].partition(";")[0]
    assert ", ".join(sorted(taken.split(", "))) == named
