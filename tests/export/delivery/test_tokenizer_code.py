"""The tokenizers that a bundle brings for apps: the same tokens as the model's own, whatever the text."""
import importlib.util
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import tree_sitter_kotlin
import tree_sitter_swift

from export.delivery.snippets import TEMPLATES
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.regex import Regex
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.export.delivery.test_snippets import parsed
from tests.pipelines.features.tokenizers.odd_strings import odd, real

FOLDER = TEMPLATES / "text"
FEATURES = {
    "word": Text(tokenizer=Word(most=800), length=24), "word_as_written": Text(tokenizer=Word(lower=False), length=12,
                                                                               ends=True),
    "character": Text(tokenizer=Character(), length=40), "wordpiece": Text(tokenizer=WordPiece(most=700), length=24),
    "bpe": Text(tokenizer=Bpe(most=700), length=24, ends=True),
    "whitespace": Text(tokenizer=Whitespace(most=800), length=24),
    "regex": Text(tokenizer=Regex(most=800), length=24), "byte_bpe": Text(tokenizer=ByteBpe(most=700), length=32),
    "sentencepiece": Text(tokenizer=SentencePiece(most=700), length=24)}
#: What the app's JSON parser is called, as Android's documentation gives it.
JSON = """package org.json
class JSONArray {
    fun length(): Int = 0
    fun getInt(index: Int): Int = 0
    fun getDouble(index: Int): Double = 0.0
    fun getString(index: Int): String = ""
}
class JSONObject(content: String) {
    fun getJSONObject(name: String): JSONObject = this
    fun getJSONArray(name: String): JSONArray = JSONArray()
    fun optJSONObject(name: String): JSONObject? = null
    fun optJSONArray(name: String): JSONArray? = null
    fun getString(name: String): String = ""
    fun optString(name: String, otherwise: String): String = otherwise
    fun getInt(name: String): Int = 0
    fun optInt(name: String, otherwise: Int): Int = otherwise
    fun getBoolean(name: String): Boolean = false
}
"""
#: Reads what the Python below writes: fields a line each, then strings as code points.
READER = """
fun ints(line: String) = line.split(" ").filter { it.isNotEmpty() }.map { it.toInt() }.toIntArray()
fun text(line: String) = ints(line).joinToString("") { String(Character.toChars(it)) }
fun tokenizerOf(lines: List<String>): Tokenizer {
    val of = { at: Int -> ints(lines[at]) }
    val scores = lines[12].split(" ").filter { it.isNotEmpty() }.map { it.toFloat() }.toFloatArray()
    return Tokenizer(Tokenizer.Said(
        lines[0], lines[1] == "true", lines[2].toInt(), lines[3] == "true", lines[4].toInt(), lines[5].toInt(),
        lines[6], of(7), of(8), of(9), of(10), List(lines[11].toInt()) { text(lines[17 + it]) }, scores, of(13), of(14),
        of(15), of(16)))
}
"""
PROGRAM = """import java.io.File
fun main(files: Array<String>) = files.forEach { file ->
    val lines = File(file).readLines()
    val tokenizer = tokenizerOf(lines)
    for (line in lines.drop(17 + lines[11].toInt())) println(tokenizer.tokens(text(line)).joinToString(" "))
}
"""


@pytest.fixture(scope="module")
def learnt():
    texts = [text.encode() for text in real(600)]
    return {name: feature.learn(Field(kind="text"), texts) for name, feature in FEATURES.items()}


def expected(feature, learnt, strings):
    """Return the tokens that a served graph makes, (strings, length)."""
    dataset = tf.data.Dataset.from_tensor_slices([text.encode() for text in strings])
    decoded = dataset.map(lambda text: feature.decode(text, learnt), num_parallel_calls=2).batch(len(strings))
    return next(iter(decoded)).numpy()


def shipped():
    """Return the module that a bundle brings."""
    spec = importlib.util.spec_from_file_location("shipped_tokenizer", FOLDER / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FEATURES)
def test_python_makes_the_same_tokens(learnt, name, count):
    strings = [*real(count // 2), *odd(count - count // 2)]
    tokenizer = shipped().Tokenizer(json.loads(json.dumps(FEATURES[name].described(learnt[name]))))
    tokens = expected(FEATURES[name], learnt[name], strings)
    for text, row in zip(strings, tokens.tolist(), strict=True):
        assert tokenizer.tokens(text) == row, repr(text)


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_javascript_makes_the_same_tokens(learnt, tmp_path):
    strings = [*real(150), *odd(150)]
    for name, feature in FEATURES.items():
        said = json.dumps({"said": feature.described(learnt[name]), "strings": strings})
        (tmp_path / f"{name}.json").write_text(said)
    (tmp_path / "cut.mjs").write_text(f"""import {{readFileSync}} from 'node:fs';
        import {{Tokenizer}} from '{(FOLDER / "tokenizer.js").as_uri()}';
        for (const name of {json.dumps(list(FEATURES))}) {{
          const {{said, strings}} = JSON.parse(readFileSync(`{tmp_path}/${{name}}.json`));
          const tokenizer = new Tokenizer(said);
          console.log(JSON.stringify(strings.map((text) => tokenizer.tokens(text))));
        }}
        """)
    done = subprocess.run(["node", str(tmp_path / "cut.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, (name, feature) in zip(done.stdout.splitlines(), FEATURES.items(), strict=True):
        tokens = expected(feature, learnt[name], strings).tolist()
        for text, row, one in zip(strings, tokens, json.loads(line), strict=True):
            assert one == row, (name, text)


def test_python_reads_the_bundles_file(learnt, tmp_path):
    content = json.dumps(FEATURES["bpe"].described(learnt["bpe"]), ensure_ascii=False)
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    tokens = shipped().Tokenizer.read(tmp_path).tokens("so good")
    assert len(tokens) == 24 and tokens[0] == 2 and 3 in tokens


def test_lone_surrogates_stand_between_words(learnt):
    tokenizer = shipped().Tokenizer(FEATURES["word"].described(learnt["word"]))
    assert tokenizer.tokens("good\ud800film") == tokenizer.tokens("good film")


@pytest.mark.parametrize("ends", [False, True])
def test_special_tokens_that_are_written_in_a_text_are_none(ends):
    feature = Text(tokenizer=Whitespace(min_count=1, lower=False), length=8, ends=ends)
    learnt = feature.learn(Field(kind="text"), [b"<PAD> <START> film <END>"])
    strings = ["<PAD> <UNKNOWN> film <START> <END>", "film <END>"]
    tokens = expected(feature, learnt, strings).tolist()
    tokenizer = shipped().Tokenizer(feature.described(learnt))
    assert [tokenizer.tokens(text) for text in strings] == tokens
    assert [row.count(0) for row in tokens] == [1, 4] if ends else [3, 6]


def test_kotlin_and_swift_are_whole():
    assert parsed(FOLDER / "Tokenizer.kt", tree_sitter_kotlin.language()) == []
    assert parsed(FOLDER / "Tokenizer.swift", tree_sitter_swift.language()) == []


def written(said, strings):
    """Return what the Kotlin program reads."""
    characters = said["characters"]
    classes = said.get("classes", {"starts": [0], "kinds": [0]})
    merges = said.get("merges", {"left": [], "right": []})
    tables = (classes["starts"], classes["kinds"], merges["left"], merges["right"])
    listed = [[ord(character) for character in text] for text in (*said["vocabulary"], *strings)]
    lines = [said["kind"], str(said["lower"]).lower(), said["length"], str(said["ends"]).lower(),
             said.get("characters_per_token", 1), said.get("longest", 0), said.get("inside", ""),
             *(" ".join(map(str, characters[name])) for name in ("starts", "kinds", "capitals", "small")),
             len(said["vocabulary"]), " ".join(map(repr, said.get("scores", []))),
             *(" ".join(map(str, table)) for table in tables),
             *(" ".join(map(str, points)) for points in listed)]
    return "\n".join(map(str, lines)) + "\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_makes_the_same_tokens(learnt, tmp_path):
    strings = [*real(5000), *odd(5000)]
    (tmp_path / "Json.kt").write_text(JSON)
    (tmp_path / "Main.kt").write_text(PROGRAM + READER)
    for name, feature in FEATURES.items():
        (tmp_path / name).write_text(written(feature.described(learnt[name]), strings))
    done = subprocess.run(["kotlinc", str(FOLDER / "Tokenizer.kt"), "Json.kt", "Main.kt", "-include-runtime", "-d",
                           "app.jar"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt", *FEATURES], cwd=tmp_path, capture_output=True,
                             text=True, check=True).stdout.splitlines()
    for number, (name, feature) in enumerate(FEATURES.items()):
        rows = [list(map(int, line.split())) for line in printed[number * len(strings):(number + 1) * len(strings)]]
        wrong = np.flatnonzero((np.array(rows) != expected(feature, learnt[name], strings)).any(axis=1))
        assert not len(wrong), (name, [strings[position] for position in wrong[:3]])
