"""Artifacts: whole or absent, and noticed when altered."""
import json
import multiprocessing
import time

import pytest

from pipelines.engine import journal
from pipelines.engine.store import Store, writable
from pipelines.errors import UserError

KEY = "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def make(store, key=KEY, text="content"):
    work = store.work("train", key)
    work.mkdir(parents=True)
    (work / "sub").mkdir()
    (work / "sub" / "model.txt").write_text(text)
    journal.Journal(work / journal.NAME).note("made")
    return store.commit("train", key, 1.5, "made")


def test_an_artifact_is_found_as_it_was_made(store):
    made = make(store)
    assert store.find("train", KEY) == made
    assert (made.path / "sub" / "model.txt").read_text() == "content"
    assert not store.work("train", KEY).exists()
    assert store.find("train", "f" * 64) is None


def test_the_digest_is_of_the_contents_and_not_of_the_moment(store):
    first = make(store)
    time.sleep(0.01)
    again = make(store, "1" * 64)
    other = make(store, "2" * 64, "other")
    assert first.files[journal.NAME] != again.files[journal.NAME]
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(("harm", "expected"), [
    (lambda folder: (folder / "sub" / "model.txt").write_text("altered"), "model.txt has been altered"),
    (lambda folder: (folder / "sub" / "model.txt").unlink(), "model.txt has been deleted"),
    (lambda folder: (folder / "artifact.json").unlink(), "artifact.json is missing or damaged"),
    (lambda folder: (folder / "artifact.json").write_text("{"), "artifact.json is missing or damaged"),
])
def test_an_altered_artifact_is_noticed(store, harm, expected):
    artifact = make(store)
    harm(artifact.path)
    with pytest.raises(UserError, match=rf"{expected}.*--from train"):
        store.find("train", KEY)


def test_what_was_made_anew_takes_the_place_and_the_old_goes_to_the_trash(store):
    make(store)
    make(store, text="anew")
    assert (store.folder("train", KEY) / "sub" / "model.txt").read_text() == "anew"
    assert [path.read_text() for path in store.root.glob(".trash/*/sub/model.txt")] == ["content"]


def hold(store, ready, end):
    with store.lock("train", KEY):
        ready.set()
        end.wait()


def test_a_lock_is_let_go_when_its_holder_is_killed(store):
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(store, ready, end))
    process.start()
    assert ready.wait(60)
    store.work("train", KEY).mkdir()
    assert store.busy(store.work("train", KEY))
    process.kill()
    process.join()
    assert not store.busy(store.work("train", KEY))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError,
                       match=r"file/x: cannot be written \(Not a directory\)"), writable(tmp_path / "file" / "x"):
        (tmp_path / "file" / "x").mkdir()


def test_a_journal_survives_a_half_written_line(tmp_path):
    path = tmp_path / journal.NAME
    writer = journal.Journal(path)
    writer.metrics({"loss": 2.0}, step=0)
    writer.metrics({"loss": 1.0}, step=1)
    with open(path, "a") as file:
        file.write('{"time": 1, "event": "metr')
    assert [event["event"] for event in journal.read(path)] == ["metrics", "metrics"]
    journal.Journal(path).metrics({"loss": 0.5}, step=1)
    assert journal.series(path) == {"loss": {0: 2.0, 1: 0.5}}
    assert all(json.loads(line) for line in path.read_text().splitlines())
