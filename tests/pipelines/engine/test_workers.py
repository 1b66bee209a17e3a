"""Workers: what they return, and how their end is told."""
import ctypes
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines.engine import workers
from pipelines.errors import StageError, UserError


def double(value):
    workers.report(text="doubling")
    return 2 * value


def crash():
    ctypes.string_at(0)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def raise_error(error):
    raise error


def ask_another(value):
    return workers.isolated(double, value, what="doubling") + 1


def survive_a_crash():
    try:
        workers.isolated(crash, what="convert int8: the converter")
    except StageError as error:
        return str(error)
    return "no crash"


def which_process():
    return os.getpid(), "tensorflow" in sys.modules


def test_a_worker_returns_and_tells_its_progress():
    said = []
    assert workers.call(double, 21, listen=said.append) == 42
    assert said == [{"text": "doubling"}]


def test_each_call_is_a_process_of_its_own_with_tensorflow_imported():
    first, second = workers.call(which_process), workers.call(which_process)
    assert first[0] != second[0] != os.getpid()
    assert first[1]


@pytest.mark.parametrize(("function", "how"),
                         [(crash, "crashed (segmentation fault)"), (be_killed, "was killed (out of memory?)")])
def test_a_death_has_a_name(function, how, tmp_path):
    with pytest.raises(StageError) as caught:
        workers.call(function, log=tmp_path / "log.txt", what="compress int8")
    assert str(caught.value) == f"compress int8: {how}. See {tmp_path / 'log.txt'}"


def test_a_users_mistake_stays_one():
    with pytest.raises(UserError, match=r"^give another$"):
        workers.call(raise_error, UserError("give another"))


def test_any_other_error_is_one_line_and_the_log_has_the_rest(tmp_path):
    with pytest.raises(StageError, match=r"^train: ZeroDivisionError: first line\. See"):
        workers.call(raise_error, ZeroDivisionError("first line\nsecond line"), log=tmp_path / "log.txt", what="train")
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_full_disk_is_the_users_to_mend():
    with pytest.raises(UserError, match="the disk is full"):
        workers.call(raise_error, OSError(28, "No space left on device"))


def test_a_worker_can_ask_for_another_and_outlives_its_crash():
    assert workers.call(ask_another, 4) == 9
    assert workers.call(survive_a_crash).startswith("convert int8: the converter: crashed (segmentation fault)")


@pytest.mark.slow
def test_a_worker_ends_with_its_parent(tmp_path):
    code = (f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
            "from tests.pipelines.engine.test_workers import note_and_sleep\nfrom pipelines.engine import workers\n"
            f"workers.call(note_and_sleep, {str(tmp_path / 'pid')!r})\n")
    (tmp_path / "main.py").write_text(f"if __name__ == '__main__':\n    exec({code!r})\n")
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")])
    pid = int(_wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    parent.kill()
    parent.wait()
    assert _wait_for(lambda: not os.path.exists(f"/proc/{pid}") if sys.platform == "linux" else not _alive(pid))


def note_and_sleep(path):
    assert multiprocessing.parent_process() is not None
    with open(f"{path}.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{path}.part", path)
    time.sleep(600)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("module", workers.PRELOAD)
def test_what_the_server_preloads_is_there(module):
    """Python's server leaves out without a word what it cannot import, and every worker would then import it itself."""
    assert importlib.util.find_spec(module) is not None


def test_what_is_printed_as_the_process_ends_is_kept_off_the_terminal():
    code = ("import atexit, os; from pipelines.engine import workers; atexit.register(os.write, 2, b'late')\n"
            "workers.quiet_at_exit(); os.write(2, b'in time')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "in time")
