"""The code of bundles that opens a file in LiteRT-LM's engine."""
import pytest
import tree_sitter_kotlin
import tree_sitter_swift

import models
from export.artifacts import Exported
from export.conversion import convert
from export.delivery import engine_code
from export.targets import litert_lm
from export.tflite.metadata import Description
from models.chunks import ChunkedDecoder
from tests.export.delivery.test_snippets import parsed


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a tiny decoder's file, as the engine's archive has it beside."""
    folder = tmp_path_factory.mktemp("exported")
    model = models.build("llama", length=16, vocabulary=20, depth=1, units=16, heads=2, groups=2)
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (4,)), folder / "graph")
    (folder / "litert_lm").mkdir()
    (folder / "litert_lm" / "float32.tflite").write_bytes(convert.convert(folder / "graph", "float32"))
    return folder


def artifact(path, target):
    return Exported(variant="float32", target=target, path=path, bytes=1, zipped=1)


def test_the_engine_is_given_the_first_file_of_its_target(exported, tmp_path):
    both = [artifact("litert/float32.tflite", "litert"), artifact("litert_lm/float32.litertlm", "litert_lm")]
    engine_code.write(tmp_path, Description(name="my_bible", version="1.0.0"), both, exported)
    kotlin, swift = tmp_path / "kotlin/MyBibleConversation.kt", tmp_path / "swift/MyBibleConversation.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] == parsed(swift, tree_sitter_swift.language())
    for file in (kotlin, swift):
        code = file.read_text()
        assert "float32.litertlm (from litert_lm/ of this bundle)" in code and "up to 16 tokens" in code
        assert "class MyBibleConversation" in code


def test_without_such_a_file_nothing_is_written(exported, tmp_path):
    engine_code.write(tmp_path, Description(name="tiny", version="1.0.0"), [artifact("a.tflite", "litert")], exported)
    assert list(tmp_path.iterdir()) == []
