"""The code of bundles that goes on with texts: the same tokens in Python, Kotlin and Swift."""
import shutil
import subprocess

import numpy as np
import pytest
import tree_sitter_kotlin
import tree_sitter_swift

from export.delivery.snippets import TEMPLATES
from export.writing import beam, sampling
from export.writing.sampling import Sampling
from tests.export.delivery.test_snippets import parsed

FOLDER = TEMPLATES / "language_model"
#: Draws tokens, and searches for a text, of logits that a file has line by line.
PROGRAM = """import java.io.File
fun main(files: Array<String>) {
    val lines = File(files[0]).readLines()
    val rows = lines.drop(1).map { line -> line.split(" ").map { it.toFloat() }.toFloatArray() }
    for (seed in lines[0].split(" ").map { it.toULong().toLong() }) {
        val words = Sampling.philox(seed, 7L + (1L shl 40))
        println(words.joinToString(" ") + " " + Sampling.uniform(seed, 3).toRawBits())
        for (how in listOf(
            Sampling(), Sampling(1.0, seed = seed), Sampling(1.7, 5, seed = seed), Sampling(0.8, 0, 0.7, seed = seed),
            Sampling(1.3, 9, 0.9, 1.5, seed))) {
            println(rows.withIndex().joinToString(" ") { (number, row) ->
                how.chosen(row, number, listOf(3, 4, 3), listOf(0, 1)).toString() })
        }
    }
    for (end in listOf(-1, 2)) {
        val text = Beam.search(Sampling().allowed(rows[0], emptyList(), listOf(0)), 4, 3, end, 0.6) { _, texts ->
            texts.map { Sampling().allowed(rows[it.sum() % rows.size], emptyList(), listOf(0)) } }
        println(text.joinToString(" "))
    }
}
"""
SEEDS = [0, 1, 2 ** 63 + 12345, 2 ** 64 - 1]


def expected(rows):
    """Return the lines that Kotlin must print."""
    lines = []
    for seed in SEEDS:
        bits = np.float64(sampling.uniform(seed, 3)).view(np.int64)
        lines.append([*sampling.philox(seed, 7 + 2 ** 40), bits])
        lines += [[sampling.chosen(row, how, number, text=[3, 4, 3], never=[0, 1]) for number, row in enumerate(rows)]
                  for how in (Sampling(), Sampling(1.0, seed=seed), Sampling(1.7, 5, seed=seed),
                              Sampling(0.8, 0, 0.7, seed=seed), Sampling(1.3, 9, 0.9, 1.5, seed))]

    def step(places, texts):
        return np.stack([sampling.allowed(rows[sum(text) % len(rows)], Sampling(), [], [0]) for text in texts])

    for end in (None, 2):
        lines.append(beam.search(sampling.allowed(rows[0], Sampling(), [], [0]), step, count=4, width=3, end=end,
                                 score=beam.by_length(0.6)))
    return [" ".join(map(str, line)) for line in lines]


def test_kotlin_and_swift_are_whole():
    assert parsed(FOLDER / "Sampling.kt", tree_sitter_kotlin.language()) == []
    assert parsed(FOLDER / "Sampling.swift", tree_sitter_swift.language()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_chooses_the_same_tokens(tmp_path):
    rows = np.random.default_rng(2).normal(size=(60, 30)).astype(np.float32) * 2
    rows[5] = 0.25  # all are equal
    (tmp_path / "Main.kt").write_text(PROGRAM)
    (tmp_path / "rows.txt").write_text("\n".join([" ".join(map(str, SEEDS)), *(
        " ".join(map(repr, row.tolist())) for row in rows)]))
    done = subprocess.run(["kotlinc", str(FOLDER / "Sampling.kt"), "Main.kt", "-include-runtime", "-d", "app.jar"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt", "rows.txt"], cwd=tmp_path, capture_output=True,
                             text=True, check=True).stdout.splitlines()
    assert printed == expected(rows)
