"""The REST API answers and refuses as TF Serving's does."""
import base64
import gzip
import json

import numpy as np
import pytest
import requests

from serving.client import RestClient
from serving.embedded import running
from serving.errors import ServingError


@pytest.fixture
def ask(toy):
    session = requests.Session()
    session.trust_env = False

    def send(ending, body=None, *, model="toy", method=None, **options):
        data = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
        return session.request(method or ("GET" if body is None else "POST"),
                               f"http://{toy.rest}/v1/models/{model}{ending}", data=data,
                               **options)

    return send


def test_rows_and_columns_come_back_as_they_were_sent(ask):
    rows = ask(":predict", {"instances": [[1, 2], [3, 4.5]]})
    assert rows.status_code == 200 and rows.headers["content-type"] == "application/json"
    assert rows.json() == {"predictions": [{"s": 3.0, "y": [2.0, 3.0]}, {"s": 7.5, "y": [4.0, 5.5]}]}
    assert ask(":predict", {"instances": [{"x": [1, 2]}]}).json() == {"predictions": [{"s": 3.0, "y": [2.0, 3.0]}]}
    assert ask(":predict", {"inputs": [[1, 2]]}).json() == {"outputs": {"s": [3.0], "y": [[2.0, 3.0]]}}
    assert ask(":predict", {"inputs": {"x": [[1, 2]]}}).json() == {"outputs": {"s": [3.0], "y": [[2.0, 3.0]]}}


def test_a_single_output_is_no_object_and_a_scalar_no_list(ask):
    assert ask(":predict", {"signature_name": "regress", "inputs": {"inputs": []}}).status_code in (200, 400)
    assert ask(":predict", {"signature_name": "scalars", "inputs": 1.5}).json() == {"outputs": 3.0}
    result = ask(":predict", {"signature_name": "scalars", "instances": [1.5]})
    assert result.json() == {"predictions": [3.0]}, "a shape that the signature does not state is the graph's to take"


def test_strings_bytes_bools_and_large_integers(ask):
    raw = base64.b64encode(b"\xff\x00").decode()
    result = ask(":predict", {"signature_name": "mixed",
                              "inputs": {"text": ["café", "b"], "flag": [True, False], "big": [2 ** 53 + 1, -1]}})
    outputs = json.loads(result.content)["outputs"]  # by json, which knows the Infinity that another output is
    assert outputs["text"] == ["café", "b"]
    assert outputs["text_bytes"][0] == {"b64": base64.b64encode("café".encode()).decode()}
    assert outputs["flag"] == [False, True]
    assert outputs["big"] == [2 ** 53 + 2, 0]
    result = ask(":predict", {"signature_name": "mixed", "instances": [{"text": {"b64": raw}, "flag": True, "big": 0}]})
    assert json.loads(result.content)["predictions"][0]["text_bytes"] == {"b64": raw}


def test_what_is_no_number_in_json_is_one_here(ask):
    result = ask(":predict", '{"instances": [[NaN, Infinity], [-Infinity, 0]]}')
    assert '"y": [NaN,Infinity]' in result.text and '"y": [-Infinity,1.0]' in result.text


def test_floats_have_their_shortest_text(ask):
    assert '"y": [1.1,1.2]' in ask(":predict", {"instances": [[0.1, 0.2]]}).text


@pytest.mark.parametrize("body, words", [
    ("", "JSON Parse error: The document is empty"),
    ("{", "JSON Parse error: Invalid value. at offset: 1"),
    ("[1]", "Is not object"),
    ("[" * 100_000, "JSON Parse error"),
    ('{"instances": ' + "[" * 200 + "]" * 200 + "}", "nested deeper"),
    (b"\xff", "JSON Parse error"),
    ('{"instances": [[' + "9" * 5000 + ', 1]]}', "JSON Parse error"),
    ({"signature_name": 100, "instances": [1]}, "'signature_name' key must be a string value."),
    ({"signature_name": "nope", "instances": [1]}, 'Serving signature name: "nope" not found in signature def'),
    ({}, "Missing 'inputs' or 'instances' key"),
    ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "Not formatted correctly expecting only one of 'inputs' or "
                                                  "'instances' keys to exist"),
    ({"instances": {"x": 1}}, "Excepting 'instances' to be an list/array"),
    ({"instances": []}, "No values in 'instances' array"),
    ({"instances": [["x", "y"]]}, "Type: String is not of expected type: float"),
    ({"instances": [[1, 2], [3]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ({"instances": [[1, [2]]]}, "Encountered list at unexpected level: 2 expected < 2"),
    ({"instances": [[1e300, 2]]}, "Cannot convert JSON value: 1e+300 to float without loss of precision."),
    ({"instances": [[16777217, 2]]}, "Cannot convert JSON value: 16777217 to float without loss of precision."),
    ({"instances": [{"x": [1, 2], "z": 1}]}, "JSON object: does not have named input: z"),
    ({"instances": [{"x": [1, 2]}, [1, 2]]}, "Expecting object but got list at item 1 of input list"),
    ({"instances": [[1, 2], {"x": [1, 2]}]}, "Expecting value/list but got object at item 1 of input list"),
    ({"signature_name": "mixed", "instances": ["a"]}, "instances is a plain list, but expecting list of objects"),
    ({"signature_name": "mixed", "instances": [{"text": "a"}]}, "keys must be equal to: big,flag,text"),
    ({"signature_name": "mixed", "inputs": {"text": ["a"]}}, "Missing named input: "),
    ({"signature_name": "mixed", "inputs": {"text": [{"b64": "!"}], "flag": [True], "big": [1]}},
     "Unable to base64 decode"),
    ({"signature_name": "mixed", "inputs": {"text": [{"b65": "a"}], "flag": [True], "big": [1]}},
     "not formatted correctly for base64"),
    ({"signature_name": "mixed", "inputs": {"text": ["a"], "flag": [1], "big": [1]}}, "is not of expected type: bool"),
    ({"signature_name": "mixed", "inputs": {"text": ["a"], "flag": [True], "big": [2 ** 63]}},
     "is not of expected type: int64"),
    ({"signature_name": "mixed", "inputs": {"text": ["a"], "flag": [True], "big": [True]}},
     "is not of expected type: int64"),
])
def test_bodies_that_do_not_fit_are_refused_in_the_originals_words(ask, body, words):
    result = ask(":predict", body)
    assert result.status_code == 400 and words in result.json()["error"]


@pytest.mark.parametrize("model, ending, body, code, words", [
    ("nope", ":predict", {"instances": [1]}, 404, "Servable not found for request: Latest(nope)"),
    ("toy", "/versions/7:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(toy, 7)"),
    ("toy", "/versions/99999999999999999999:predict", {"instances": [1]}, 400, "convert version: 99999999999999999999 "
                                                                               "to numeric."),
    ("toy", "/labels/canary:predict", {"instances": [1]}, 400, "Unrecognized servable version label: canary"),
    ("toy", "/versions/7", None, 404, "Could not find version 7 of model toy"),
    ("nope", "", None, 404, "Could not find any versions of model nope"),
    ("toy", ":nothing", {"instances": [1]}, 400, "Malformed request: POST /v1/models/toy:nothing"),
    ("..%2F..%2Fetc", "", None, 404, "Could not find any versions of model ../../etc"),
    ("", "", None, 400, "Malformed request"),
])
def test_places_that_are_not_there(ask, model, ending, body, code, words):
    result = ask(ending, body, model=model)
    assert result.status_code == code and words in result.json()["error"]


def test_classify_and_regress(ask):
    asked = {"signature_name": "classify", "context": {"other": "x"},
             "examples": [{"v": [1.0, 2.0]}, {"v": [3.5, 4.0]}]}
    assert ask(":classify", asked).json() == {"results": [[["a", 2.0], ["b", 3.0]], [["a", 4.5], ["b", 5.0]]]}
    assert ask(":regress", {"signature_name": "regress", "examples": [{"v": [1.0, 2.0]}]}).json() == {"results": [4.0]}
    for body, words in (({"signature_name": "classify"}, "key 'examples' is expected"),
                        ({"examples": []}, "empty array"),
                        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
                        ({"examples": [{"v": [1.0, 2]}]}, "Unexpected element type in feature: v expecting type: "
                                                          "float"),
                        ({"examples": [{"v": None}]}, "has element with unexpected JSON type: Null")):
        result = ask(":classify", body)
        assert result.status_code == 400 and words in result.json()["error"]


def test_status_and_metadata_have_the_originals_fields(ask):
    assert ask("").json() == {"model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]}
    assert ask("/versions/1").json() == ask("").json()
    result = ask("/metadata").json()
    assert result["model_spec"]["name"] == "toy" and result["model_spec"]["version"] == "1"
    value = result["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    assert value["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in value["tensor_shape"]["dim"]] == ["-1", "2"]


def test_gzip_both_ways(ask):
    packed = gzip.compress(json.dumps({"instances": [[1, 2]] * 200}).encode())
    result = ask(":predict", packed, headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert result.headers["content-encoding"] == "gzip" and len(result.json()["predictions"]) == 200
    for broken in (b"no gzip", packed[:-20]):
        assert ask(":predict", broken, headers={"Content-Encoding": "gzip"}).status_code == 400


def test_prometheus_reads_counts_and_latencies(toy, ask):
    ask(":predict", {"instances": [[1, 2]]})
    page = requests.get(f"http://{toy.rest}/monitoring/prometheus/metrics").text
    assert '# TYPE :tensorflow:serving:request_count counter' in page
    counted = [line for line in page.splitlines() if line.startswith(":tensorflow:serving:request_count{")
               and 'API="Predict"' in line
               and 'entrypoint="REST"' in line and 'status="OK"' in line and 'model_name="toy"' in line
               and 'model_version="1"' in line]
    assert counted and float(counted[0].rpartition(" ")[2]) >= 1
    assert ":tensorflow:serving:request_latency_bucket{" in page
    assert requests.get(f"http://{toy.rest}/elsewhere").status_code == 404


def test_cross_origin_headers_where_they_are_asked_for(base):
    with running(model_name="toy", model_base_path=str(base), rest_api_enable_cors_support=True,
                 max_request_bytes=1000) as server:
        url = f"http://{server.rest}/v1/models/toy"
        assert requests.get(url).headers["access-control-allow-origin"] == "*"
        result = requests.options(url + ":predict")
        assert result.status_code == 200 and result.headers["access-control-allow-methods"] == "POST, GET"
        assert requests.post(url + ":predict", data=b" " * 2000).status_code == 413
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < 20_000
        assert requests.post(url + ":predict", data=gzip.compress(b" " * 100_000),
                             headers={"Content-Encoding": "gzip"}).status_code == 413


def test_the_client_speaks_it(toy):
    with RestClient(toy.rest, "toy") as client:
        assert client.signatures["serving_default"].inputs[0].shape == (2,)
        result = client.predict({"x": np.array([[0.1, 2]] * 300, "float32")})
        assert result["y"].dtype == np.float32 and result["y"].shape == (300, 2) and result["y"][0,
                                                                                                 0] == np.float32(1.1)
        assert client.status() == {1: "AVAILABLE"}
        assert client.classify([{"v": [1.0, 2.0]}]) == [[("a", 2.0), ("b", 3.0)]]
    with RestClient(toy.rest, "toy", version=4,
                    retry=False) as client, pytest.raises(ServingError, match="Servable not found") as caught:
        client.ask({"x": np.zeros((1, 2), "float32")})
    assert caught.value.code.name == "NOT_FOUND"
