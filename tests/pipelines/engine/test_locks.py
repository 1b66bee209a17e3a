"""One process at a time."""
import multiprocessing
import time

import pytest

from pipelines.engine.locks import alone


def append_alone(path, lines):
    """Write two lines with a pause between, alone."""
    with alone(path / "folder" / "x.lock"):
        for line in lines:
            with open(path / "log.txt", "a") as log:
                log.write(f"{line}\n")
            time.sleep(0.2)


def test_processes_take_turns(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_alone, args=(tmp_path, [name, name])) for name in ("a", "b", "c")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = (tmp_path / "log.txt").read_text().split()
    assert lines[::2] == lines[1::2] and sorted(lines[::2]) == ["a", "b", "c"]


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), alone(tmp_path / "x.lock"):
        raise RuntimeError
    with alone(tmp_path / "x.lock"):
        pass


def test_a_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), alone(tmp_path / "file" / "x.lock"):
        pass
