"""Load by k6 (https://grafana.com/docs/k6), where it is installed: its executor `constant-arrival-rate` is an open loop
too."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.client import Access
from serving.load import MOST_WAITING, Step, bodies

SCRIPT = """\
import http from "k6/http";
import { Counter } from "k6/metrics";

const load = JSON.parse(open("./load.json"));
const failed = new Counter("failed");
export const options = {
  scenarios: { load: {
    executor: "constant-arrival-rate", rate: load.in_ten_seconds, timeUnit: "10s", duration: load.duration,
    preAllocatedVUs: load.users, maxVUs: load.most_users } },
  discardResponseBodies: true,
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

export default function () {
  const body = load.bodies[Math.floor(Math.random() * load.bodies.length)];
  const answer = http.post(load.url, body, { headers: { "Content-Type": "application/json" }, timeout: load.timeout });
  if (answer.status !== 200) failed.add(1);
}
"""


def program() -> str | None:
    """Return where k6 is, beside this Python or on the PATH; None where it is not installed."""
    return shutil.which(str(Path(sys.executable).with_name("k6"))) or shutil.which("k6")


def open_loop(k6: str, access: Access, inputs: Sequence[dict[str, np.ndarray]], rate: float, seconds: float) -> Step:
    """Send requests over REST at a rate, as `serving.load.open_loop` does; latency is k6's `http_req_duration`.

    Args:
        k6: the program.
        rate: requests a second, to a tenth.

    Raises:
        RuntimeError: k6 did not run to its end; with its last line.
    """
    users = max(1, min(MOST_WAITING, round(rate)))
    with tempfile.TemporaryDirectory(prefix="litepress-k6-") as name:
        folder = Path(name)
        (folder / "script.js").write_text(SCRIPT)
        (folder / "load.json").write_text(json.dumps({
            "url": f"{access.url}:predict", "bodies": [one.decode() for one in bodies(access, inputs)],
            "in_ten_seconds": max(1, round(rate * 10)), "duration": f"{max(1, round(seconds * 1e3))}ms", "users": users,
            "most_users": MOST_WAITING, "timeout": f"{round(access.deadline * 1e3)}ms"}))
        done = subprocess.run([k6, "run", "--quiet", "--no-usage-report", "--summary-export", "summary.json",
                               "script.js"], cwd=folder,
                              capture_output=True, text=True)
        if done.returncode or not (folder / "summary.json").exists():
            raise RuntimeError(f"k6: {(done.stderr.strip().splitlines() or ['it gave no message'])[-1][:300]}")
        return step_of(json.loads((folder / "summary.json").read_text())["metrics"], rate, seconds)


def step_of(metrics: dict, rate: float, seconds: float) -> Step:
    """Return what k6's summary says, as a step."""
    times = metrics.get("http_req_duration", {})
    sent, failed = (int(metrics.get(name, {}).get("count", 0)) for name in ("http_reqs", "failed"))
    dropped = int(metrics.get("dropped_iterations", {}).get("count", 0))
    values = [float(times.get(name, "nan")) for name in ("med", "p(90)", "p(99)", "p(99.9)", "max")]
    return Step(rate=rate, seconds=seconds, answered=sent - failed, throughput=(sent - failed) / seconds, p50=values[0],
                p90=values[1],
                p99=values[2], p999=values[3], most=values[4], late=0.0,
                errors={name: count for name, count in (("FAILED", failed), ("TOO_MANY_WAITING", dropped)) if count})
