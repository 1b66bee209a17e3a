"""Writes the files that bring a model repository to a machine or a cluster, from the templates beside this module."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).with_name("templates")
DASHBOARD = Path("grafana/dashboards/serving.json")


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What the files say.

    Args:
        name: of the model; a DNS label, as Kubernetes wants it.
        image: what to call the container image.
        serving_version: of TF Serving.
        cpus: processors of a replica; as many batches run at a time.
        memory_mb: memory of a replica, MiB.
        min_replicas, max_replicas: of the stable track.
        canary_percent: requests of a hundred that go to the canary.
        batch_sizes: sizes that batches are padded to, the last the largest.
        batch_timeout_micros: how long a request waits for others.
        storage_uri: where KServe finds the model's versions.
        repository: where the repository lies, for the README.
    """

    name: str
    image: str = ""
    serving_version: str = "2.21.0"
    cpus: int = 2
    memory_mb: int = 2048
    min_replicas: int = 2
    max_replicas: int = 10
    canary_percent: int = 10
    batch_sizes: tuple[int, ...] = (1, 4, 8, 16, 32)
    batch_timeout_micros: int = 2000
    storage_uri: str = ""
    repository: str = "models"


def render(deployment: Deployment) -> dict[str, str]:
    """Return every file by its path. The same deployment gives the same text."""
    about = dataclasses.asdict(dataclasses.replace(
        deployment, image=deployment.image or f"{deployment.name}-serving",
        storage_uri=deployment.storage_uri or f"pvc://models/{deployment.name}"))
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
                                     trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)
    result = {name: environment.get_template(name).render(about) for name in environment.list_templates()}
    return result | {str(DASHBOARD): json.dumps(dashboard(deployment.name), indent=1) + "\n"}


def dashboard(name: str) -> dict:
    """Return a Grafana dashboard: requests, errors, latency percentiles by entry point, batches."""
    request, batch = ":tensorflow:serving:request", ":tensorflow:serving:batching_session"
    panels = [
        ("Requests a second", "reqps", [(f"sum by (model_name, entrypoint) (rate({request}_latency_count[1m]))",
                                         "{{model_name}} {{entrypoint}}")]),
        ("Errors a second", "reqps", [(f'sum by (model_name, status) (rate({request}_count{{status!="OK"}}[1m]))',
                                       "{{model_name}} {{status}}")]),
        *((f"Latency over {entry}", "µs", [(
            f'histogram_quantile({share}, sum by (le) (rate({request}_latency_bucket{{entrypoint="{entry}"}}[1m])))',
            f"p{share * 100:g}")
            for share in (0.5, 0.9, 0.99)]) for entry in ("GRPC", "REST")),
        ("Rows of a batch", "short",
         [(f"histogram_quantile(0.5, sum by (le) (rate({batch}:batch_size_bucket[1m])))", "p50")]),
        ("Time in the queue", "µs", [("histogram_quantile(0.5, sum by (le) "
                                      f"(rate({batch}:queuing_latency_bucket[1m])))", "p50")])]
    return {"uid": f"{name}-serving", "title": f"{name} on TF Serving", "schemaVersion": 41, "version": 1,
            "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"}, "tags": ["tf-serving"],
            "panels": [{"id": place + 1, "type": "timeseries", "title": title,
                        "datasource": {"type": "prometheus", "uid": "prometheus"},
                        "gridPos": {"h": 8, "w": 12, "x": place % 2 * 12, "y": place // 2 * 8},
                        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                        "targets": [{"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend}
                                    for number, (query, legend) in enumerate(queries)]}
                       for place, (title, unit, queries) in enumerate(panels)]}
