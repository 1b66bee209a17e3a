"""Answers and baselines are held against the same texts, whatever tokens leave out of them."""
import zlib

import numpy as np
import pytest
import sacrebleu

from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.language_model import LanguageModel
from pipelines.tasks.translation import Translation
from tests.pipelines.tasks.small_data import WORD, data_of


def test_translations_are_held_against_the_texts_as_they_are_written(tmp_path):
    """Words without capitals are not the text; numbers that training lacks leave many texts with the same tokens."""
    pairs = [pair for number in range(40) for pair in (
        (f"Zahl {number}", f"Number  {number}, Please!"), (f"ZAHL {number}!", f"number {number}, PLEASE!"))]
    (tmp_path / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    task = Translation()
    data = data_of(task, source={"parallel_text": str(tmp_path / "pairs.tsv")},
                   tokens={"tokenizer": WORD, "length": 8}, previous={"tokenizer": WORD, "length": 8})
    copied, expected = zip(*(pairs[position] for position in data.index.splits["test"].positions), strict=True)
    measure = task.measure(data.index)
    for _, targets in data.batches("test"):
        measure.add(targets, {"answer": targets["next"]})
    assert measure.expected == list(expected)
    assert set(measure.answers) == {"number <UNKNOWN> , please !"}
    chrf = sacrebleu.corpus_chrf(measure.answers, [expected]).score
    assert measure.result().metrics["chrf"] == pytest.approx(chrf, abs=1e-4)
    beside = task.completed(Evaluation(metrics={}), None, data, tmp_path).baselines["copy_source"]
    assert beside["chrf"] == pytest.approx(sacrebleu.corpus_chrf(copied, [expected]).score, abs=1e-4)


@pytest.mark.parametrize(("tokenizer", "kept"), [
    (WORD, lambda line: " ".join(line.lower().replace(",", " ,").split())),
    ({"character": {"lower": True}}, str.lower), ("character", str)])
def test_programs_compress_what_the_tokens_keep(tmp_path, tokenizer, kept):
    generator = np.random.default_rng(0)
    lines = ["  ".join(generator.choice(["One", "two,", "THREE", "four"], 5)) for _ in range(60)]
    for part, own in (("train", lines[:40]), ("validation", lines[40:50]), ("test", lines[50:])):
        (tmp_path / f"{part}.txt").write_text("\n".join(own) + "\n")
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(tmp_path)}},
                   tokens={"tokenizer": tokenizer, "length": 60, "ends": True})
    beside = task.completed(Evaluation(metrics={}), None, data, tmp_path).baselines
    learnt, asked = ("".join(f"{kept(line)}\n" for line in own) for own in (lines[:40], lines[50:]))
    sizes = [len(zlib.compress(text.encode(), 9)) for text in (learnt + asked, learnt)]
    assert beside["gzip"]["bits_per_character"] == pytest.approx(8 * (sizes[0] - sizes[1]) / len(asked), abs=1e-4)
    measure = task.measure(data.index)
    tokens = np.concatenate([targets["next"] for _, targets in data.batches("test")])
    measure.add({"next": tokens}, {"logits": np.zeros((*tokens.shape, len(data.index.names("next"))))})
    assert measure.characters == len(asked)
