"""Versions come and go whole, labels follow, and a server that watches always has a good one."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from serving import repository as repositories
from serving.client import GrpcClient
from serving.embedded import running
from serving.repository import Repository, RepositoryError

ROW = {"x": np.array([[1, 2]], "float32")}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def test_versions_are_counted_and_never_overwritten(repository, toy_one, toy_two):
    assert [repository.promote("toy", toy_one, {"assets.extra/note": b"x"}), repository.promote("toy", toy_two)] == [1,
                                                                                                                     2]
    assert repository.models() == {"toy": [1, 2]}
    assert (repository.folder / "toy" / "1" / "assets.extra" / "note").read_bytes() == b"x"
    config = repository.config().model_config_list.config[0]
    assert (config.name, config.base_path, config.model_platform) == ("toy", str(repository.folder / "toy"),
                                                                      "tensorflow")
    assert repository.rollback("toy") == (1, [2])
    assert repository.promote("toy", toy_two) == 3  # 2 lies withdrawn, and is not overwritten
    repository.restore("toy", 2)
    assert repository.models() == {"toy": [1, 2, 3]}
    assert repository.rollback("toy", to=1) == (1, [2, 3])


def test_labels_keep_what_they_are_on_served(repository, toy_one, toy_two):
    for source in (toy_one, toy_two):
        repository.promote("toy", source)
    repository.label("toy", "stable", 1)
    repository.label("toy", "canary", 2)
    assert list(repository.config().model_config_list.config[0].model_version_policy.specific.versions) == [1, 2]
    with pytest.raises(RepositoryError, match=r"labels are on versions that would go: canary \(2\)"):
        repository.rollback("toy")
    with running(model_config_file=str(repository.folder / "models.config"),
                 allow_version_labels_for_unavailable_models=True) as server:
        for label, answer in (("stable", 2), ("canary", 11)):
            with GrpcClient(server.grpc, "toy", label=label) as client:
                assert client.ask(ROW)["y"][0, 0] == answer
    repository.label("toy", "canary", None)
    assert repository.labels("toy") == {"stable": 1}
    assert repository.rollback("toy") == (1, [2])


@pytest.mark.parametrize("what, words", [
    (lambda repository, toy: repository.promote("toy", toy / "variables"), "no SavedModel"),
    (lambda repository, toy: repository.rollback("other"), "has no model other; it has toy"),
    (lambda repository, toy: repository.rollback("toy"), "version 1 alone"),
    (lambda repository, toy: repository.rollback("toy", to=7), "has no version 7; it has 1"),
    (lambda repository, toy: repository.restore("toy", 7), "no withdrawn version 7"),
    (lambda repository, toy: repository.label("toy", "stable", 7), "has no version 7"),
    (lambda repository, toy: repository.label("toy", "stable", None), "has no label stable"),
])
def test_what_cannot_be_done_is_said(repository, toy_one, what, words):
    repository.promote("toy", toy_one)
    with pytest.raises(RepositoryError, match=words):
        what(repository, toy_one)
    assert repository.models() == {"toy": [1]}


def test_a_mounted_repository_keeps_its_place_in_the_configuration(tmp_path, toy_one):
    Repository(tmp_path, "/models").promote("toy", toy_one)
    Repository(tmp_path).promote("toy", toy_one)
    Repository(tmp_path).promote("other", toy_one)
    assert [one.base_path for one in Repository(tmp_path).config().model_config_list.config] == ["/models/toy",
                                                                                                 "/models/other"]


def test_a_broken_configuration_is_said_with_its_line(repository, toy_one):
    repository.promote("toy", toy_one)
    (repository.folder / "models.config").write_text("model_config_list {\n broken")
    with pytest.raises(RepositoryError, match=r"ModelServerConfig: 2:2: .*models\.config"):
        repository.label("toy", "stable", 1)


PROMOTE = """
import pathlib, sys, time
from serving import repository
def slowly(path, deep=True, to_disk=repository._to_disk):
    time.sleep(float(sys.argv[3]))
    to_disk(path, deep)
repository._to_disk = slowly
print("ready", flush=True)
sys.stdin.readline()
repository.Repository(pathlib.Path(sys.argv[1])).promote("toy", pathlib.Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.05, 0.3])
def test_kill_nine_during_promote_leaves_the_repository_whole(repository, toy_one, toy_two, after):
    repository.promote("toy", toy_one)
    with running(model_name="toy",
                 model_base_path=str(repository.folder / "toy")) as server, GrpcClient(server.grpc, "toy") as client:
        process = subprocess.Popen([sys.executable, "-c", PROMOTE, str(repository.folder), str(toy_two), "0.15"],
                                   stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL, cwd=os.getcwd())
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for number in repository.models()["toy"]:
            assert (repository.folder / "toy" / str(number) / "variables" / "variables.index").exists()
        assert client.ask(ROW)["y"][0, 0] in (2, 11)
        number = repository.promote("toy", toy_two)
        assert not list((repository.folder / "toy").glob(".*.part"))
        end = time.monotonic() + 15
        while client.status().get(number) != "AVAILABLE":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert client.ask(ROW)["y"][0, 0] == 11


def test_the_original_never_sees_what_is_not_whole(repository, toy_one, monkeypatch):
    """At every moment of a promotion, folders whose names are numbers hold everything."""
    seen = []

    def look(path, deep=True, to_disk=repositories._to_disk):
        seen.append(sorted(one.name for one in (repository.folder / "toy").iterdir() if one.name.isdigit()))
        to_disk(path, deep)

    monkeypatch.setattr(repositories, "_to_disk", look)
    repository.promote("toy", toy_one)
    assert seen[0] == [] and seen[-1] == ["1"]
