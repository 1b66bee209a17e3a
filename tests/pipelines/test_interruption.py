"""Runs that are killed, and runs that meet: nothing is lost, nothing is half-written."""
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine import runs
from tests.conftest import TINY, command, digests


def launch(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([str(Path(sys.executable).with_name("litepress")), "run", "recipe.yaml", *arguments],
                            cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


@pytest.mark.slow
def test_two_runs_at_once_share_the_work_and_harm_nothing(tmp_path, tiny_run):
    (tmp_path / "recipe.yaml").write_text(TINY)
    first, second = (launch(tmp_path, "--no-track", "--until", "train") for _ in range(2))
    for process in (first, second):
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
    made = digests(tmp_path)
    assert list(made) == ["ingest", "train"]
    assert made.items() <= digests(tiny_run).items()
    assert len(list(tmp_path.glob("runs/.store/train-*"))) == 1
    assert len(runs.all_runs(tmp_path / "runs")) == 2


def kill(process: subprocess.Popen, whole_group: bool) -> None:
    os.killpg(process.pid, signal.SIGKILL) if whole_group else process.kill()
    process.communicate(timeout=60)


def kill_and_go_on(folder: Path, seconds: float, whole_group: bool) -> None:
    """Starts the small recipe, kills it with SIGKILL after some seconds, and runs it to its end."""
    process = launch(folder, "--no-track")
    time.sleep(seconds)
    kill(process, whole_group)
    done = command("run", "recipe.yaml", "--no-track", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_trains_goes_on_to_the_same_artifacts(tmp_path, tiny_run, litepress,
                                                                            monkeypatch):
    (tmp_path / "recipe.yaml").write_text(TINY)
    process = launch(tmp_path, "--no-track")
    end = time.monotonic() + 300
    while not list(tmp_path.glob("runs/.store/.work/**/checkpoint*")):
        assert process.poll() is None and time.monotonic() < end, "it saved no checkpoint"
        time.sleep(0.1)
    kill(process, whole_group=False)
    monkeypatch.chdir(tmp_path)
    done = litepress("run", "recipe.yaml", "--no-track", "--until", "evaluate")
    assert done.code == 0, done.out + done.err
    assert "cached" in done.out, "what was whole is not made again"
    assert digests(tmp_path).items() <= digests(tiny_run).items()
    assert not [path for path in tmp_path.glob("runs/.store/.work/*") if path.is_dir()]


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "whole_group"), [(20, False), (28, True)])
def test_a_killed_run_goes_on_to_the_same_artifacts(tmp_path, tiny_run, seconds, whole_group):
    (tmp_path / "recipe.yaml").write_text(TINY)
    kill_and_go_on(tmp_path, seconds, whole_group)
    assert digests(tmp_path) == digests(tiny_run)
    assert not [path for path in tmp_path.glob("runs/.store/.work/*") if path.is_dir()]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_twenty_kills_at_random_moments_leave_nothing_corrupt(tmp_path, tiny_run, part):
    expected, generator = digests(tiny_run), np.random.default_rng(part)
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "recipe.yaml").write_text(TINY)
        kill_and_go_on(folder, generator.uniform(0.2, 45), bool(number % 2))
        assert digests(folder) == expected, number
        shutil.rmtree(folder)
