"""Files of models of words: MediaPipe's TextClassifier cuts texts as the model was trained to."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.conversion import convert
from export.keras_models import graph
from export.signature import Signature, Tensor
from export.tflite import metadata, phone
from export.tflite.metadata import Description
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.regex import Regex
from tests.export.tflite.test_metadata import MEDIAPIPE, embedded, mediapipe
from tests.pipelines.features.tokenizers.odd_strings import odd, real

LENGTH = 6
CLASSIFY = """
import json, sys
from mediapipe.tasks.python import BaseOptions, text
options = text.TextClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
with text.TextClassifier.create_from_options(options) as classifier:
    for one in json.load(open(sys.argv[2])):
        found = classifier.classify(one).classifications[0].categories
        print(json.dumps([category.index for category in found if category.score > 0.5]))
"""
READ = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
graph = schema.ModelMetadataT.InitFromPackedBuf(bytes.fromhex(sys.argv[1]), 0).subgraphMetadata[0]
taken = graph.inputTensorMetadata[0]
unit = taken.processUnits[0]
print(json.dumps([unit.optionsType, unit.options.delimRegexPattern.decode(), unit.options.vocabFile[0].name.decode(),
                  unit.options.vocabFile[0].type, [one.name.decode() for one in taken.associatedFiles]]))
"""


@pytest.fixture(scope="module")
def learnt():
    return Text(tokenizer=Regex(most=30)).learn(Field(kind="text"), [text.encode() for text in real(300)])


@pytest.fixture(scope="module")
def file(learnt, tmp_path_factory):
    """Return a file whose scores are the tokens that it was given, one-hot: of length x vocabulary."""
    folder, words = tmp_path_factory.mktemp("words"), len(learnt.names)
    tensor = Text(tokenizer=Regex(), length=LENGTH).tensor("tokens", learnt)
    signature = Signature(inputs=(tensor,), outputs=(Tensor(name="logits", dtype="float32", shape=(LENGTH * words,),
                                                            role="logits"),))
    tokens = keras.Input((LENGTH,), name="tokens", dtype="int32")
    one_hot = keras.layers.Embedding(words, words, embeddings_initializer=keras.initializers.Identity())(tokens)
    logits = keras.layers.Reshape((LENGTH * words,), name="logits")(one_hot)
    convert.float_graph(keras.Model(tokens, logits), lambda model: [graph.function(model, signature)], folder / "graph")
    labels = [f"{position} {word}" for position in range(LENGTH) for word in learnt.names]
    about = Description(name="words", task="text_classification", labels=labels, signature=signature)
    path = folder / "words.tflite"
    path.write_bytes(phone.ready(convert.convert(folder / "graph", "float32"), about))
    return path


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_mediapipe_makes_the_same_tokens(file, learnt, tmp_path):
    texts = [text for text in [*real(60), *odd(60)] if "\x00" not in text]  # MediaPipe ends a text there
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    feature = Text(tokenizer=Regex(), length=LENGTH)
    printed = mediapipe(CLASSIFY, file, tmp_path / "texts.json").splitlines()
    for text, line in zip(texts, printed, strict=True):
        tokens = np.sort(np.array(json.loads(line))) - len(learnt.names) * np.arange(LENGTH)
        assert tokens.tolist() == feature.decode(tf.constant(text.encode()), learnt).numpy().tolist(), repr(text)


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_the_metadata_are_the_published_schemas(file):
    content = file.read_bytes()
    said = json.loads(mediapipe(READ, embedded(content).hex()))
    assert said == [6, r"[^\w\']+", "vocabulary.txt", 5, ["vocabulary.txt"]]
    assert metadata.read(content).name == "words"
