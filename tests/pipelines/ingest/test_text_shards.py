"""Corpora in many files: what is read of each kind, in which order, how much of it is in memory, and bad shards."""
import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.text_shards import TextShards
from pipelines.tasks.language_model import LanguageModel


def lines(name, count=4):
    return [f"{name} says {number} words, and naïve ones" for number in range(count)]


@pytest.fixture
def corpus(tmp_path):
    """A folder with a shard of each kind, and other files."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("\n".join(lines("a")) + "\r\n\n")
    rows = "".join(json.dumps({"text": text, "more": 1}) + "\n" for text in lines("b"))
    (tmp_path / "b.jsonl").write_text(rows)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(rows.replace('"b', '"c').encode()))
    (tmp_path / "deep" / "d.txt.zst").write_bytes(pa.compress("\n".join(lines("d")).encode(), "zstd", asbytes=True))
    parquet.write_table(pa.table({"text": lines("e"), "n": [1, 2, 3, 4]}), tmp_path / "e.parquet", row_group_size=2)
    (tmp_path / "readme.md").write_text("not a shard")
    (tmp_path / ".hidden.txt").write_text("not one either")
    return tmp_path


def read(source, part="train", positions=None):
    return [(one["id"].decode().rpartition("/")[2], one["text"].decode())
            for one in source.examples(part, positions).as_numpy_iterator()]


def test_every_text_of_every_kind_of_shard_comes_once(corpus):
    texts = read(TextShards(path=str(corpus)))
    assert sorted(text for _, text in texts) == sorted(text for name in "abcde" for text in lines(name))
    assert ("e.parquet#1", lines("e")[0]) in texts


def test_shards_take_turns_in_an_order_of_the_seed(corpus):
    orders = [[name for name, _ in read(TextShards(path=str(corpus), seed=seed, together=2))] for seed in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert len({name.partition("#")[0] for name in orders[0][:2]}) == 2
    chosen = read(TextShards(path=str(corpus)), positions=[0, 7, 12])
    assert chosen == [read(TextShards(path=str(corpus)))[position] for position in (0, 7, 12)]


def test_windows_cut_all_of_a_text(tmp_path):
    text = "".join(f"{number} is followed by {number + 1}.\n" for number in range(9000))
    (tmp_path / "one.txt.gz").write_bytes(gzip.compress(text.encode()))
    stretches = list(TextShards(path=str(tmp_path), window=100).texts(tmp_path / "one.txt.gz"))
    assert "".join(stretches) == text and max(map(len, stretches)) <= 100


def section(corpus, **settings):
    written = {"source": {"text_shards": {"path": str(corpus), **settings}}, "batch": 4, "validation": 0.2,
               "tokens": {"tokenizer": "character", "length": 48}}
    filled = DataSection.model_validate(written)
    filled.fill(LanguageModel().data_settings)
    return filled


def test_a_training_that_goes_on_has_the_batches_of_a_whole_one(corpus):
    task = LanguageModel()
    index = build_index(section(corpus), task, 7)
    assert sum(split.examples for split in index.splits.values()) == 20
    def batches(first):
        data = Data(section(corpus), task, index, 7)  # as another process would have it
        return [inputs["tokens"] for inputs, _ in data.training(first, 3).as_numpy_iterator()]

    whole, rest = batches(0), batches(1)
    assert np.array_equal(whole[len(whole) // 3:], rest)
    assert not np.array_equal(whole[0], whole[len(whole) // 3])


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.jsonl.gz", b"\x1f\x8b broken", "x.jsonl.gz cannot be read"),
    ("x.txt.gz", gzip.compress(" ".join(map(str, range(9999))).encode())[:-900], "x.txt.gz cannot be read"),
    ("x.txt.zst", b"no", "x.txt.zst cannot be read"),
    ("x.parquet", b"PAR1 no", "x.parquet cannot be read"),
    ("x.txt", b"caf\xe9\n", "x.txt is not UTF-8"),
    ("x.jsonl", b'{"text": "a"}\n{"text"\n', "x.jsonl line 2 is not JSON"),
    ("x.jsonl", b'{"body": "a"}\n', "x.jsonl line 1 has no text text; it has body. Name the text in")])
def test_shards_that_cannot_be_read_are_named(corpus, name, content, message):
    (corpus / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build_index(section(corpus), LanguageModel(), 7)


def test_folders_without_shards_and_columns_are_refused(corpus, tmp_path):
    with pytest.raises(UserError, match=r"has no shards: files that end with \.txt, \.jsonl, \.jsonl\.gz"):
        TextShards(path=str(tmp_path / "deep" / "none")).fingerprint()
    with pytest.raises(UserError, match="has no column body; it has text, n"):
        list(TextShards(path=str(corpus), field="body").texts(corpus / "e.parquet"))


MEMORY = """\
import resource, sys
from pipelines.ingest.sources.text_shards import TextShards
source = TextShards(path=sys.argv[1], window=400)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
stream = source.examples("train").as_numpy_iterator()
for _ in range(2000): next(stream)
begun = peak()
count = sum(len(one["text"]) for one in stream)
print(count, peak() - begun)
"""


@pytest.mark.slow
def test_a_corpus_is_never_in_memory(tmp_path):
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5000)])
    for shard in range(12):
        text = "\n".join(" ".join(words[generator.integers(0, 5000, 12)]) for _ in range(100_000))
        (tmp_path / f"{shard}.txt.gz").write_bytes(gzip.compress(text.encode(), 1))
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    characters, grown = done.stdout.split()
    assert float(characters) > 1e8 and float(grown) < 40  # MiB
