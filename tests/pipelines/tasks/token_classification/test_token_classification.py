"""Named entities: examples of a file in CoNLL's format, and what a tagger is worth."""
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

import models
from export.predictors import open_predictor
from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.token_classification import TokenClassification
from pipelines.tasks.token_classification.measure import EntityMeasure
from pipelines.training.losses import Loss
from tests.conftest import command

NAMES = ["O", "B-LOC", "I-LOC", "B-PER"]
#: Sentences about real places and people, tagged by hand.
SENTENCES = [("Ada Lovelace lived in London", "B-PER I-PER O O B-LOC"),
             ("London is in Great Britain", "B-LOC O O B-LOC I-LOC"),
             ("Niels Bohr was born in Copenhagen", "B-PER I-PER O O O B-LOC"), ("New York is large", "B-LOC I-LOC O O"),
             ("It rains in Bergen", "O O O B-LOC"), ("Marie Curie worked in Paris", "B-PER I-PER O O B-LOC")]


def data_of(folder, sentences=SENTENCES, **settings):
    lines = ["\n".join(f"{word}\t{tag}" for word, tag in zip(text.split(), tags.split(), strict=True)) for text, tags in
             sentences * 8]
    (folder / "train.txt").write_text("\n\n".join(lines))
    task = TokenClassification()
    section = DataSection.model_validate({"source": {"conll": str(folder / "train.txt")}, "batch": 4,
                                          "tokens": {"length": 6, "tokenizer": {"whitespace": {"min_count": 1}}},
                                          **settings})
    section.fill(task.data_settings)
    return Data(section, task, build_index(section, task, 0), 0)


def logits_of(rows, names=NAMES):
    return np.eye(len(names))[np.array(rows)]


def test_each_word_has_its_tag(tmp_path):
    data = data_of(tmp_path)
    inputs, targets = data.arrays("train", 4)
    names, words = data.index.names("tags"), data.index.learnt["tokens"].names
    known = {text.lower(): tags for text, tags in SENTENCES}
    for tokens, tags in zip(inputs["tokens"], targets["tags"], strict=True):
        text = " ".join(words[number] for number in tokens if number)
        assert " ".join(names[number] for number in tags if number >= 0) == known[text]
    assert data.task.dimensions(data.index) == {"length": 6, "vocabulary": len(words), "classes": 5}


def test_entities_count_whole():
    """Two places and a person are true; one place is answered whole, the other by half, and a person where none is."""
    measure = EntityMeasure(NAMES, "tags", "logits")
    wrong = measure.add({"tags": np.array([[1, 2, 0, 1, 2], [3, 0, 0, -1, -1]])},
                        {"logits": logits_of([[1, 2, 0, 1, 0], [0, 0, 3, 1, 1]])})
    assert wrong.tolist() == [0.2, pytest.approx(2 / 3)]
    found = measure.result().metrics
    assert found["entity_precision"] == pytest.approx(1 / 3, abs=1e-6)  # of LOC, LOC, PER
    assert found["entity_recall"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["entity_f1"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["accuracy"] == pytest.approx(5 / 8, abs=1e-6)


def test_a_perfect_tagger_is_worth_1():
    tags = np.array([[1, 2, 0, 3], [0, -1, -1, -1]])
    measure = EntityMeasure(NAMES, "tags", "logits")
    measure.add({"tags": tags}, {"logits": logits_of(np.maximum(tags, 0))})
    assert set(measure.result().metrics.values()) == {1.0}
    assert [row[0] for row in measure.result().tables[0].rows] == ["LOC", "PER"]


def test_words_and_tags_must_be_as_many(tmp_path):
    (tmp_path / "rows.csv").write_text("text,tags\nOslo is nice,B-LOC O\nOslo,B-LOC\n")
    task = TokenClassification()
    section = DataSection.model_validate({"source": {"csv": str(tmp_path / "rows.csv")}})
    section.fill(task.data_settings)
    with pytest.raises(UserError, match=r"rows.csv row 1 has 3 words and 2 tags; give a tag for each word"):
        build_index(section, task, 0)


def test_padding_teaches_nothing(tmp_path):
    """The loss is the mean over words: logits behind a text's end change nothing."""
    data = data_of(tmp_path)
    loss = data.task.objective(Loss.read("cross_entropy"), data.index)
    inputs, targets = next(iter(data.validation(2)))
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 6, 5)).astype("float32")
    there = targets["tags"].numpy().sum(axis=-1) > 0
    changed = np.where(there[..., None], logits, 9.0).astype("float32")
    first, second = (loss(inputs, targets, {"logits": tf.constant(values)}).numpy() for values in (logits, changed))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    chosen = (logits * targets["tags"].numpy()).sum(axis=-1)
    expected = [(np.log(np.exp(row).sum(axis=-1)) - one)[known].mean() for row, one, known in
                zip(logits, chosen, there, strict=True)]
    np.testing.assert_allclose(first, expected, rtol=1e-5)


PIECES = {"tokens": {"length": 40, "tokenizer": {"byte_bpe": 280}}}


def test_a_words_first_piece_has_its_tag_and_the_others_teach_nothing(tmp_path):
    data = data_of(tmp_path, **PIECES)
    inputs, targets = next(iter(data.validation(2)))
    firsts, names, tokens = targets["first_pieces"].numpy(), data.index.names("tags"), inputs["tokens"].numpy()
    words = data.index.learnt["tokens"].names
    known = {text: tags for text, tags in SENTENCES}
    generator = np.random.default_rng(0)
    logits, expected, right = generator.normal(size=(2, 40, 5)).astype("float32"), [], []
    for row in range(2):
        text = "".join(words[number] for number in tokens[row] if number).replace("Ġ", " ")
        tags = [names.index(tag) for tag in known[text].split()]
        spaces = [place for place in range(1, 40) if words[tokens[row, place]].startswith("Ġ")]
        begins = [0, *(place + (words[tokens[row, place]] == "Ġ") for place in spaces)]
        assert firsts[row].tolist() == [*begins, *[-1] * (40 - len(begins))] and len(begins) < (tokens[row] > 0).sum()
        scores = logits[row, begins]
        expected.append(np.mean(np.log(np.exp(scores).sum(-1)) - scores[np.arange(len(tags)), tags]))
        right.append(np.mean(scores.argmax(-1) == tags))
    loss = data.task.objective(Loss.read("cross_entropy"), data.index)
    np.testing.assert_allclose(loss(inputs, targets, {"logits": tf.constant(logits)}), expected, rtol=1e-5)
    watched = data.task.watch(data.index)["accuracy"](targets, {"logits": tf.constant(logits)})
    np.testing.assert_allclose(watched, right, rtol=1e-6)
    plain = {"tags": np.where(targets["tags"].numpy().any(-1), targets["tags"].numpy().argmax(-1), -1),
             "first_pieces": firsts}
    measure = data.task.measure(data.index)
    np.testing.assert_allclose(measure.add(plain, {"logits": logits}), 1 - np.array(right), rtol=1e-6)
    sizes = [len(known_tags) for known_tags in measure.true]
    assert sizes == (firsts >= 0).sum(axis=1).tolist()


def test_words_between_a_beginning_and_an_end_have_their_own_tags(tmp_path):
    data = data_of(tmp_path, tokens={"length": 8, "tokenizer": {"whitespace": {"min_count": 1}}, "ends": True})
    inputs, targets = data.arrays("train", 4)
    sizes = (inputs["tokens"] > 0).sum(axis=1) - 2
    for row, size in enumerate(sizes.tolist()):
        assert targets["first_pieces"][row].tolist() == [*range(1, size + 1), *[-1] * (8 - size)]
        assert (targets["tags"][row] >= 0).sum() == size


def test_words_whose_first_piece_is_cut_off_do_not_count(tmp_path):
    data = data_of(tmp_path, tokens={"length": 6, "tokenizer": {"byte_bpe": 280}})
    _, targets = data.arrays("train", 8)
    measure = data.task.measure(data.index)
    measure.add(targets, {"logits": np.zeros((8, 6, 5))})
    counted, all_of_them = sum(map(len, measure.true)), int((targets["tags"] >= 0).sum())
    assert counted == (targets["first_pieces"] >= 0).sum() and 8 <= counted < all_of_them - 4


def test_a_model_says_which_words_are_what(tmp_path):
    data = data_of(tmp_path)
    names = data.index.names("tags")
    rows = [[names.index(tag) for tag in ("B-PER", "I-PER", "O", "O", "B-LOC", "O")], [0] * 6]
    said = data.task.in_words({"logits": logits_of(rows, names)}, data.index)
    assert said == ["1 B-PER  2 I-PER  5 B-LOC", "nothing"]


@pytest.mark.parametrize("tokenizer", [{"whitespace": {"min_count": 1}}, {"byte_bpe": 280}])
def test_nothing_is_said_of_words_that_are_not_there(tmp_path, tokenizer):
    parts = [(text, " ".join("NAME" if one != "O" else "WORD" for one in tags.split())) for text, tags in SENTENCES]
    data = data_of(tmp_path, parts, tokens={"length": 40, "tokenizer": tokenizer})
    for name, text in (("asked.txt", "It rains in Bergen\n"), ("other.txt", "It rains\nLondon is large\n")):
        (tmp_path / name).write_text(text)
        data.task.rows_of(tmp_path / name, {"tokens": data.features["tokens"]}, data.index)
    said = data.task.in_words({"logits": np.zeros((3, 40, 2))}, data.index)
    assert [[one.split()[0] for one in line.split("  ")] for line in said] == [
        ["1", "2", "3", "4"], ["1", "2"], ["1", "2", "3"]], "of two files"


def test_the_baseline_gives_each_word_its_usual_tag(tmp_path):
    from pipelines.tasks.token_classification import baseline

    data = data_of(tmp_path)
    found = baseline.measured(data, "tokens", "tags", "logits")["most_frequent_tag"]
    assert found["entity_f1"] == 1.0  # every sentence is there eight times, and no word has two tags


@pytest.mark.parametrize(("units", "expected"), [((6,), 8 * (6 * (6 + 4) + 6) + 13 * 3), ((3, 2), 8 * (
    3 * (3 + 4) + 3) + 8 * (2 * (2 + 6) + 2) + 5 * 3)])
def test_a_tagger_has_the_papers_parameters(units, expected):
    model = models.build("bilstm_tagger", length=7, vocabulary=20, classes=3, embedding=4, units=units)
    assert model.count_params() == 20 * 4 + expected
    tokens = np.array([[3, 4, 5, 0, 0, 0, 0]], "int32")
    longer = models.build("bilstm_tagger", length=9, vocabulary=20, classes=3, embedding=4, units=units)
    longer.set_weights(model.get_weights())
    short, long = (np.asarray(one(np.pad(tokens, [(0, 0), (0, more)]), training=False))[:, :3]
                   for one, more in ((model, 0), (longer, 2)))
    np.testing.assert_allclose(short, long, atol=1e-6)


RECIPE = """\
name: names
task: token_classification
data:
  source: {conll: train.txt}
  tokens: {length: 8, tokenizer: {whitespace: {min_count: 1}}}
  batch: 4
model: {builder: bilstm_tagger, embedding: 16, units: [16], dropout: 0.1, embedding_dropout: 0.0}
train: {epochs: 12, schedule: {cosine: 0.02}}
compress: {variants: [float32, int8]}
export: {targets: [litert, saved_model]}
verify: {runs: 20}
gates: {entity_f1: ">= 0.9", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
"""


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["{byte_bpe: 290}", "{wordpiece: 60}"])
def test_a_run_of_pieces_tags_words(tmp_path, tokenizer):
    data_of(tmp_path)
    recipe = RECIPE.replace("length: 8, tokenizer: {whitespace: {min_count: 1}}", f"length: 40, tokenizer: {tokenizer}")
    recipe = recipe.replace("bilstm_tagger, embedding: 16, units: [16], dropout: 0.1, embedding_dropout: 0.0",
                            "bert_tagger, depth: 1, units: 32, heads: 2, dropout: 0.0")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("epochs: 12", "epochs: 25"))
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "mine.txt").write_text("Ada Lovelace lived in London\nNew  York is large\n")
    said = command("predict", "runs/names/latest", "mine.txt", cwd=tmp_path)
    assert said.returncode == 0 and "1 B-PER  2 I-PER  5 B-LOC" in said.stdout, said.stdout + said.stderr
    assert "1 B-LOC  2 I-LOC" in said.stdout


@pytest.mark.slow
def test_a_run_ends_in_files_that_tag(tmp_path):
    data_of(tmp_path)  # writes train.txt
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "names" / "latest"
    bundle = run / "package" / "bundle"
    served = open_predictor(bundle / "saved_model" / "1").predict(
        {"text": np.array([b"Niels Bohr was born in Copenhagen", b""], object)}, "serving_bytes")["logits"]
    names = (bundle / "labels.txt").read_text().splitlines()
    assert [names[number] for number in served[0, :6].argmax(axis=-1)] == [
        "B-PER", "I-PER", "O", "O", "O", "B-LOC"]
    assert np.isfinite(served).all()
    fused = next(one for one in json.loads((bundle / "model.json").read_text())["models"] if one["name"] == "int8")
    assert fused["operators"]["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 2
    (tmp_path / "mine.txt").write_text("Ada Lovelace lived in London\n")
    said = command("predict", str(run), "mine.txt", cwd=tmp_path)
    assert said.returncode == 0 and "1 B-PER  2 I-PER  5 B-LOC" in said.stdout


def test_a_missing_library_is_named_before_the_training(tmp_path, monkeypatch):
    data = data_of(tmp_path)
    monkeypatch.setitem(sys.modules, "seqeval", None)
    with pytest.raises(UserError, match=r"seqeval is not installed; .venv/bin/pip install -e '.\[text\]'"):
        data.task.notes(data)
