"""Files in MediaPipe's form of BERT: their answers are those of the tokens, and MediaPipe makes these."""
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.conversion import convert
from export.keras_models import graph
from export.predictors import BertPredictor, open_predictor
from export.signature import Signature, Tensor
from export.targets import mediapipe as target
from export.tflite import metadata
from export.tflite.metadata import Description
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.export.tflite.test_metadata import MEDIAPIPE, embedded, mediapipe
from tests.pipelines.features.tokenizers.odd_strings import odd, real

LENGTH = 9
CLASSIFY = """
import json, sys
from mediapipe.tasks.python import BaseOptions, text
base = BaseOptions(model_asset_path=sys.argv[1])
with text.TextClassifier.create_from_options(text.TextClassifierOptions(base, score_threshold=0.5)) as classifier:
    for one in json.load(open(sys.argv[2])):
        said = classifier.classify(one).classifications[0].categories
        print(json.dumps([category.index for category in said]))
"""
READ = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
graph = schema.ModelMetadataT.InitFromPackedBuf(bytes.fromhex(sys.argv[1]), 0).subgraphMetadata[0]
unit, = graph.inputProcessUnits
print(json.dumps([unit.optionsType, unit.options.vocabFile[0].name.decode(), unit.options.vocabFile[0].type,
                  [one.name.decode() for one in graph.inputTensorMetadata],
                  [one.name.decode() for one in graph.outputTensorMetadata[0].associatedFiles]]))
"""
#: What both make the same pieces of: ASCII but for control characters, small letters, marks, punctuation, Han.
ALIKE = [*"abcxyzABCXYZ0129 .,!?'\"-_@#$%&()[]<>\n\t\r\f", *"äöüßéñжաσς", *"\u0301\u0308", *"你好世界한글", *"«»„“–…¿"]
needs_mediapipe = pytest.mark.skipif(not MEDIAPIPE.is_dir(),
                                     reason="MediaPipe is not here; make .venv/.mediapipe brings it")


def text(ends):
    return Text(tokenizer=WordPiece(most=100), length=LENGTH, ends=ends)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return, by whether texts have ends, what was learnt, a file whose scores are its tokens, one-hot, and the same
    for MediaPipe."""
    folder = tmp_path_factory.mktemp("pieces")
    made = {}
    for ends in (False, True):
        learnt = text(ends).learn(Field(kind="text"), [one.encode() for one in [*real(60), *ALIKE] if one.strip()])
        words = len(learnt.names)
        tokens = keras.Input((LENGTH,), name="tokens", dtype="int32")
        one_hot = keras.layers.Embedding(words, words, embeddings_initializer=keras.initializers.Identity())(tokens)
        model = keras.Model(tokens, keras.layers.Reshape((LENGTH * words,), name="logits")(one_hot))
        signature = Signature(
            inputs=(text(ends).tensor("tokens", learnt),),
            outputs=(Tensor(name="logits", dtype="float32", shape=(LENGTH * words,), role="logits"),))
        convert.float_graph(model, lambda model, own=signature: [graph.function(model, own)], folder / "graph")
        about = Description(name="pieces", labels=[f"{number}" for number in range(LENGTH * words)])
        plain, other = folder / f"plain_{ends}.tflite", folder / f"bert_{ends}.tflite"
        plain.write_bytes(convert.convert(folder / "graph", "float32"))
        other.write_bytes(target.written(plain.read_bytes(), about, learnt.names, ends=ends))
        made[ends] = learnt, plain, other
    return made


@pytest.mark.parametrize("ends", [False, True])
def test_the_answers_are_those_of_the_tokens(files, ends):
    learnt, plain, other = files[ends]
    tokens = np.stack([text(ends).decode(tf.constant(one.encode()), learnt).numpy() for one in [*real(20), *odd(20)]])
    predictors = open_predictor(plain), open_predictor(other)
    assert isinstance(predictors[1], BertPredictor) and not isinstance(predictors[0], BertPredictor)
    answers = [predictor.predict({"tokens": tokens})["logits"] for predictor in predictors]
    np.testing.assert_array_equal(*answers)
    assert answers[0].sum(axis=1).min() == LENGTH  # one-hot at each place


def test_what_is_no_token_of_the_model_is_padding(files):
    """[CLS] and [SEP] stand behind a vocabulary that has not learnt with them."""
    learnt, _, path = files[False]
    count = len(learnt.names)
    asked = {"ids": np.array([[count, 5, 3, count + 1, *[0] * (LENGTH - 2)]], np.int32)}
    inner = open_predictor(path).predictor
    shapes = {tensor.name: tensor.shape for tensor in inner.signatures["serving_default"].inputs}
    assert shapes == dict.fromkeys(("ids", "mask", "segment_ids"), (LENGTH + 2,))
    answers = inner.predict({**asked, "mask": np.ones_like(asked["ids"]), "segment_ids": 0 * asked["ids"]})["logits"]
    assert (np.flatnonzero(answers[0]) - count * np.arange(LENGTH)).tolist() == [5, 3] + [0] * (LENGTH - 2)
    with zipfile.ZipFile(path) as behind:
        lines = behind.read("vocab.txt").decode().split("\n")
    assert lines == ["[PAD]", "[UNK]", *learnt.names[2:], "[CLS]", "[SEP]"]
    assert metadata.read(path.read_bytes()).labels[-1] == str(LENGTH * count - 1)


def test_other_files_are_refused(files):
    _, plain, other = files[True]
    with pytest.raises(ValueError, match="3 tensors"):
        target.written(other.read_bytes(), Description(name="again"), ["a"], ends=True)
    with pytest.raises(ValueError, match="there are 1 labels, but the model has"):
        target.written(plain.read_bytes(), Description(name="one", labels=["good"]), ["a"] * 4, ends=True)


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.parametrize("ends", [False, True])
def test_mediapipe_makes_the_same_tokens(files, ends, tmp_path):
    learnt, _, path = files[ends]
    generator = np.random.default_rng(3)
    texts = [*real(60), "", " ", "#", "##a", "<PAD>", "[CLS] [SEP]", "a" * 90,
             *("".join(generator.choice(ALIKE, int(generator.integers(1, 30)))) for _ in range(100))]
    for one, tokens in zip(texts, said(path, texts, learnt, tmp_path), strict=True):
        assert tokens == text(ends).decode(tf.constant(one.encode()), learnt).numpy().tolist(), repr(one)


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.parametrize("one", ["É", "b€", "b👍", "b\u00a0b", "b\x7fb", "bท"])
def test_what_mediapipe_cuts_otherwise(files, one, tmp_path):
    """Capitals beyond ASCII stay; symbols, white space and scripts without spaces beyond it do not end a word."""
    learnt, _, path = files[False]
    tokens, = said(path, [one], learnt, tmp_path)
    assert tokens[:2] == [1, 0] and tokens != text(False).decode(tf.constant(one.encode()), learnt).numpy().tolist()


def said(path, texts, learnt, folder):
    """Return the tokens that MediaPipe makes of texts."""
    (folder / "texts.json").write_text(json.dumps(texts))
    lines = mediapipe(CLASSIFY, path, folder / "texts.json").splitlines()
    places = len(learnt.names) * np.arange(LENGTH)
    return [(np.sort(np.array(json.loads(line))) - places).tolist() for line in lines]


@pytest.mark.slow
@needs_mediapipe
def test_the_metadata_are_the_published_schemas(files):
    read = json.loads(mediapipe(READ, embedded(files[True][2].read_bytes()).hex()))
    assert read == [4, "vocab.txt", 5, ["ids", "mask", "segment_ids"], ["labels.txt"]]
