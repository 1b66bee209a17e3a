"""What sets workers up on clusters, as far as it runs without one."""
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.recipe import file as recipe_file
from pipelines.training import distribution

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "train"


def tf_config(*arguments):
    return subprocess.run([str(DEPLOY / "tf_config.sh"), *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("index", [0, 2])
def test_tf_config_is_what_the_training_reads(monkeypatch, index):
    written = tf_config(index, 2222, "a.example", "b.example", "c.example").stdout
    assert json.loads(written)["cluster"]["worker"] == ["a.example:2222", "b.example:2222", "c.example:2222"]
    monkeypatch.setenv("TF_CONFIG", written)
    assert distribution.role() == distribution.Role(index, 3)


@pytest.mark.parametrize("arguments", [(3, 2222, "a", "b"), ("x", 2222, "a"), (0,)])
def test_a_worker_that_is_not_among_the_hosts_is_refused(arguments):
    message = tf_config(*arguments)
    assert message.returncode == 2 and message.stderr.count("\n") == 1 and not message.stdout


def documents(name):
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text()))


def test_the_manifests_run_recipes_that_are_there_on_as_many_workers_as_they_name():
    (job,) = documents("tfjob.yaml")
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    container = worker["template"]["spec"]["containers"][0]
    assert container["name"] == "tensorflow" and worker["replicas"] > 1
    command, recipe = container["args"][:2]
    assert command == "run" and recipe_file.read(ROOT / recipe, [container["args"][3]]).train.strategy == "multi_worker"
    runtime, train = documents("trainjob.yaml")
    assert train["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    assert train["spec"]["trainer"]["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"]
    script = train["spec"]["trainer"]["args"][0]
    hosts = [f"{train['metadata']['name']}-node-0-{number}.{train['metadata']['name']}" for number in range(2)]
    assert " ".join(hosts) in script
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    for one in (container, pod["containers"][0]):
        assert {mount["name"] for mount in one["volumeMounts"]} == {"runs", "data"}


def test_the_slurm_script_starts_each_worker_with_its_config(tmp_path):
    """Under commands that stand for Slurm's: srun starts every task here, one after the other."""
    commands = {"scontrol": 'printf "n1\\nn2\\n"', "srun": 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; '
                                                           '"$@"; done'}
    (tmp_path / "bin").mkdir()
    for name, body in commands.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    stand_in = tmp_path / ".venv" / "bin" / "litepress"
    stand_in.write_text('#!/usr/bin/env bash\necho "$TF_CONFIG $*"\n')
    stand_in.chmod(0o755)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm.sh"), "r.yaml", "--set", "train.epochs=3"], cwd=tmp_path, capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "n[1-2]"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [json.loads(line[:line.index("}}") + 2])["task"]["index"] for line in lines] == [0, 1]
    assert all('"n1:12321", "n2:12321"' in line and line.endswith("run r.yaml --set train.epochs=3 --set "
                                                                  "train.strategy=multi_worker")
               for line in lines)
