"""What is written for a fleet is what its tools take."""
import json
import lzma
from pathlib import Path

import jsonschema
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format
from ruamel.yaml import YAML

from serving import messages
from serving.batching import Parameters
from serving.deploy.files import Deployment, render
from serving.flags import Options


@pytest.fixture(scope="module")
def files():
    return render(Deployment("digits", canary_percent=20, min_replicas=3))


def documents(files, name):
    return list(YAML(typ="safe").load_all(files[name]))


def test_the_manifests_are_kubernetes_own(files):
    import kubernetes_validate

    result = [one for name in files if name.startswith("kubernetes/") for one in documents(files, name)]
    assert sorted(one["kind"] for one in result) == ["Deployment", "Deployment", "HorizontalPodAutoscaler",
                                                     "PodDisruptionBudget",
                                                    "Service", "Service", "Service"]
    for one in result:
        kubernetes_validate.validate(one, "1.31", strict=True)
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in result}
    deployment = by_name["Deployment", "digits-serving-stable"]["spec"]
    container = deployment["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]
    assert container["startupProbe"]
    assert container["readinessProbe"]
    assert container["livenessProbe"]
    scaled = by_name["HorizontalPodAutoscaler", "digits-serving-stable"]["spec"]
    assert scaled["minReplicas"] == 3 and ("Deployment", scaled["scaleTargetRef"]["name"]) in by_name
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (by_name["Service", "digits-serving"]["spec"]["selector"],
                     by_name["PodDisruptionBudget", "digits-serving-stable"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()


def test_the_validator_finds_what_is_wrong(files):
    import kubernetes_validate

    broken = documents(files, "kubernetes/scaling.yaml")[0]
    broken["spec"]["maxReplica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_compose_is_as_its_specification_says(files):
    from check_jsonschema.builtin_schemas import get_builtin_schema

    result = documents(files, "compose.yaml")[0]
    schema = get_builtin_schema("vendor.compose-spec")
    jsonschema.validate(result, schema)
    assert set(result["services"]) == {"serving", "prometheus", "grafana"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**result, "services": {"serving": {"port": 1}}}, schema)
    for service in result["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or source == "./models" or any(name.startswith(source[2:])
                                                                              for name in files), source


def test_the_text_protos_are_the_real_ones(files):
    batching = Parameters.of(text_format.Parse(files["config/batching.config"], messages.BatchingParameters()),
                             "batching.config")
    assert batching.allowed_batch_sizes == (1, 4, 8, 16, 32) and batching.max_batch_size == 32
    monitoring = text_format.Parse(files["config/monitoring.config"], messages.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    scraped = documents(files, "prometheus/prometheus.yml")[0]["scrape_configs"][0]
    assert scraped["metrics_path"] == monitoring.prometheus_config.path


def test_the_image_starts_with_flags_that_there_are(files):
    from serving import flags

    command = json.loads(files["Dockerfile"].partition("CMD ")[2].replace("\\\n", ""))
    options = flags.parse(command)
    assert options.enable_batching
    assert options.model_config_file == "/models/models.config"
    assert options.rest_api_port == 8501
    assert isinstance(options, Options) and not flags.without_effect(options)


def test_canaries_get_their_share_everywhere(files):
    rule, service = documents(files, "istio/canary.yaml")
    weights = {route["destination"]["subset"]: route["weight"] for route in service["spec"]["http"][1]["route"]}
    assert weights == {"stable": 80, "canary": 20}
    assert {subset["name"] for subset in rule["spec"]["subsets"]} == set(weights)
    envoy = documents(files, "envoy/envoy.yaml")[0]["static_resources"]
    clusters = {cluster["name"] for cluster in envoy["clusters"]}
    services = {one["metadata"]["name"] for one in documents(files, "kubernetes/service.yaml")}
    for listener in envoy["listeners"]:
        routes = listener["filter_chains"][0]["filters"][0]["typed_config"]
        routes = routes["route_config"]["virtual_hosts"][0]["routes"]
        split = {one["name"]: one["weight"] for one in routes[1]["route"]["weighted_clusters"]["clusters"]}
        assert sorted(split.values()) == [20,
                                          80] and set(split) <= clusters and routes[0]["route"]["cluster"] in clusters
    for cluster in envoy["clusters"]:
        address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        address = address["address"]["socket_address"]["address"]
        assert address in services
    assert documents(files, "kserve/inference-service.yaml")[0]["spec"]["predictor"]["canaryTrafficPercent"] == 20


@pytest.mark.parametrize(("schema", "file", "number", "break_it"), [
    ("istio-destination-rule", "istio/canary.yaml", 0, lambda spec: spec["trafficPolicy"].update(loadBalancers={})),
    ("istio-virtual-service", "istio/canary.yaml", 1, lambda spec: spec["http"][1]["route"][0].update(weight="80")),
    ("kserve-inference-service", "kserve/inference-service.yaml", 0,
     lambda spec: spec["predictor"].update(canaryPercent=20))])
def test_the_meshs_and_kserves_own_schemas_take_the_manifests(files, schema, file, number, break_it):
    """Schemas from the makers' own definitions, see each one's comment."""
    requested = json.loads((Path(__file__).parent / "schemas" / f"{schema}.json").read_text())
    result = documents(files, file)[number]
    jsonschema.validate(result if schema.startswith("kserve") else result["spec"], requested)
    break_it(result["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(result if schema.startswith("kserve") else result["spec"], requested)


def test_envoy_reads_its_configuration(files):
    """By Envoy's own protos, those inside typed_config among them: descriptors of its Bootstrap and what that needs,
    from xds-protos 1.85.0 (Apache 2.0), which cannot be installed here, as it writes over OpenTelemetry's protos."""
    pool, result = descriptor_pool.DescriptorPool(), descriptor_pb2.FileDescriptorSet()
    result.ParseFromString(lzma.decompress((Path(__file__).parent / "schemas" / "envoy.binpb.xz").read_bytes()))
    for file in result.file:
        pool.Add(file)
    bootstrap, manager = (message_factory.GetMessageClass(pool.FindMessageTypeByName(f"envoy.{name}")) for name in (
        "config.bootstrap.v3.Bootstrap", "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"))
    document = documents(files, "envoy/envoy.yaml")[0]
    listeners = json_format.ParseDict(document, bootstrap(), descriptor_pool=pool).static_resources.listeners
    policies = {}
    for listener in listeners:
        filter_ = manager()
        assert listener.filter_chains[0].filters[0].typed_config.Unpack(filter_)
        policies[listener.name] = filter_.route_config.virtual_hosts[0].routes[1].route.retry_policy
    assert "unavailable" in policies["grpc"].retry_on.split(",")
    assert "retriable-status-codes" in policies["http"].retry_on.split(",")
    assert list(policies["http"].retriable_status_codes) == [503]
    document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["codec"] = "AUTO"
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict(document, bootstrap(), descriptor_pool=pool)


def test_the_dashboard_asks_for_figures_that_the_server_gives(files, toy):
    import re

    toy.server.core.metrics.request("toy", "", "Predict", "GRPC", "OK", 0.001)
    toy.server.core.metrics.batch(4, 1, 0.001)
    page = toy.server.core.metrics.page().decode()
    dashboard = json.loads(files["grafana/dashboards/serving.json"])
    asked = {name for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r":tensorflow:[a-z_:]+", target["expr"])}
    assert len(asked) >= 4
    for name in asked:
        assert f"\n{name}{{" in page, name
