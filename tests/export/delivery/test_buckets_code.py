"""The code of bundles for files with buckets of length: the shortest that a text fits into answers."""
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import buckets, bundle
from export.delivery.snippets import TEMPLATES
from export.tflite.metadata import Description
from pipelines.features.text import Text
from pipelines.features.tokenizers.character import Character
from tests.export.bucketed_file import LENGTH, VOCABULARY, made, signature
from tests.export.delivery.test_snippets import SIGNATURES, parsed

LABELS = ["one", "two", "drei$"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory, dense):
    """A bundle of a small encoder of letters, the feature that cuts its texts, and the model."""
    source = tmp_path_factory.mktemp("source")
    files = made(source)
    (source / "litert").mkdir()
    shutil.copy(files.path, source / "litert" / "mine.tflite")
    shutil.copy(dense.source / dense.exported[0].path, source / "litert" / "float32.tflite")
    text = Text(tokenizer=Character(most=VOCABULARY - 2), length=LENGTH)
    learnt = text.tokenizer.learn([bytes(range(97, 123))] * 2, ("<PAD>", "<UNKNOWN>"))
    exported = [Exported(variant=name, target="litert", path=f"litert/{name}.tflite", bytes=1, zipped=1)
                for name in ("float32", "mine")]
    known = {**{f"code/{folder}/{name}": (TEMPLATES / "text" / name).read_bytes() for folder, name in (
        ("python", "tokenizer.py"), ("kotlin", "Tokenizer.kt"), ("swift", "Tokenizer.swift"))},
        "tokenizer.json": json.dumps(text.described(learnt)).encode()}
    about = Description(name="short_texts", task="text_classification", version="1.0.0", labels=LABELS)
    bundle.write(source / "bundle", about=about, signature=signature(LENGTH, "serving_default"), exported=exported,
                 source=source, samples=[], card="", recommended={}, files=known)
    return source / "bundle", text, learnt, files.model


def test_python_says_of_texts_what_the_model_does(packed):
    folder, text, learnt, model = packed
    written = ["a", "hello", "eight ch", "this is longer than the rest", "", "zq!"]
    tokens = np.stack([text.decode(one.encode(), learnt).numpy() for one in written])
    expected = [LABELS[number] for number in model(tokens).numpy().argmax(axis=1)]
    driver = folder / "code" / "python" / buckets.DRIVER
    done = subprocess.run([sys.executable, driver, *written], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == expected and len(set(expected)) > 1


def test_kotlin_and_swift_have_each_bucket_the_shortest_first(packed):
    for ending, language, folder in (("kt", tree_sitter_kotlin, "kotlin"), ("swift", tree_sitter_swift, "swift")):
        path = packed[0] / "code" / folder / f"ShortTextsBuckets.{ending}"
        assert parsed(path, language.language()) == []
        code = path.read_text()
        places = [code.index(f'"{name}", {before}{length}') for name, length in (
            ("up_to_4", 4), ("up_to_8", 8), ("serving_default", LENGTH)) for before in (
                ("length: ",) if ending == "swift" else ("",))]
        assert places == sorted(places) and "mine.tflite (from litert/ of this bundle)" in code


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(packed, tmp_path):
    for name, text in SIGNATURES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["kotlinc", str(packed[0] / "code/kotlin/ShortTextsBuckets.kt"), *(str(tmp_path / name) for name in SIGNATURES),
         "-d", str(tmp_path / "classes")], capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr


def test_without_such_a_file_nothing_is_written(packed, tmp_path):
    one = Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)
    other = Exported(variant="mine", target="web", path="litert/mine.tflite", bytes=1, zipped=1)
    buckets.write(tmp_path / "code", Description(name="tiny"), [one, other], packed[0])
    assert not (tmp_path / "code").exists()
