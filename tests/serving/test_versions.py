"""Versions come, take over and go without a request lost; broken ones take nobody's place."""
import shutil
import threading
import time

import numpy as np
import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving import versions
from serving.client import GrpcClient
from serving.embedded import running
from serving.errors import ServingError, StartError
from tests.serving.conftest import write_tflite

ROW = {"x": np.array([[1, 2]], "float32")}


def serve(base, **flags):
    return running(model_name="toy", model_base_path=str(base), max_num_load_retries=0, **flags)


def wait(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def add(source, base, number):
    """As a repository does it: beside, then renamed."""
    shutil.copytree(source, base / f".{number}.part")
    (base / f".{number}.part").rename(base / str(number))


def test_a_new_version_takes_over_and_no_request_fails(base, toy_two):
    with serve(base) as server, GrpcClient(server.grpc, "toy", retry=False) as client:
        seen, failed, ended = [], [], threading.Event()

        def keep_asking():
            while not ended.is_set():
                try:
                    seen.append(float(client.ask(ROW)["y"][0, 0]))
                except ServingError as error:
                    failed.append(error)

        thread = threading.Thread(target=keep_asking)
        thread.start()
        add(toy_two, base, 2)
        wait(lambda: client.status() == {1: "END", 2: "AVAILABLE"})
        ended.set()
        thread.join()
        assert not failed
        assert set(seen) == {2.0, 11.0} and seen == sorted(seen)
        with pytest.raises(ServingError, match="Specific"), GrpcClient(server.grpc, "toy", version=1,
                                                                       retry=False) as old:
            old.ask(ROW)


def test_a_broken_version_never_takes_a_good_ones_place(base, toy_two):
    with serve(base) as server, GrpcClient(server.grpc, "toy") as client:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"broken")
        wait(lambda: client.status().get(2) == "END")
        assert client.status()[1] == "AVAILABLE" and client.ask(ROW)["y"][0, 0] == 2
        version = server.server.core.manager.models["toy"].versions[2]
        assert (version.error is not None
                and "Could not load" in version.error.message) or "parse" in version.error.message.lower()
        shutil.rmtree(base / "2")
        add(toy_two, base, 2)  # mended: it is looked at again
        wait(lambda: client.status().get(2) == "AVAILABLE")
        assert client.ask(ROW)["y"][0, 0] == 11


def test_a_folder_that_is_still_being_written_is_not_loaded(base, toy_two):
    with serve(base) as server, GrpcClient(server.grpc, "toy") as client:
        (base / "2").mkdir()
        for place in range(4):  # a slow copy
            (base / "2" / f"part-{place}").write_bytes(b"x" * place)
            time.sleep(0.6)
            assert 2 not in client.status()
        shutil.copytree(toy_two, base / "2", dirs_exist_ok=True)
        wait(lambda: client.status().get(2) == "AVAILABLE")


def test_an_empty_base_path_takes_no_good_version_away(base):
    with serve(base) as server, GrpcClient(server.grpc, "toy") as client:
        shutil.rmtree(base / "1")
        time.sleep(2.5)
        assert client.ask(ROW)["y"][0, 0] == 2


@pytest.mark.parametrize("policy, served", [("", [2]), ("latest { num_versions: 2 }", [1, 2]), ("all {}", [1, 2]),
                                            ("specific { versions: 1 }", [1])])
def test_policies(base, toy_two, tmp_path, policy, served):
    add(toy_two, base, 2)
    config = tmp_path / "models.config"
    config.write_text(f'model_config_list {{ config {{ name: "toy" base_path: "{base}" model_platform: "tensorflow" '
                      f"{f'model_version_policy {{ {policy} }}' if policy else ''} }} }}")
    with running(model_config_file=str(config)) as server, GrpcClient(server.grpc, "toy") as client:
        wait(lambda: sorted(number for number, state in client.status().items() if state == "AVAILABLE") == served)


def configured(base, labels="", name="toy", policy="all {}"):
    from google.protobuf import text_format

    return text_format.Parse(f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" model_platform: '
                             '"tensorflow" '
                             f"model_version_policy {{ {policy} }} {labels} }} }}",
                             model_server_config_pb2.ModelServerConfig())


def test_labels_move_by_reload_and_only_to_what_is_available(base, toy_two):
    add(toy_two, base, 2)
    with serve(base) as server, GrpcClient(server.grpc, "toy", retry=False) as client:
        client.reload(configured(base))
        wait(lambda: client.status() == {1: "AVAILABLE", 2: "AVAILABLE"})
        client.reload(configured(base, 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" '
                                       'value: 2 }'))
        for label, answer in (("stable", 2), ("canary", 11)):
            with GrpcClient(server.grpc, "toy", label=label) as labelled:
                assert labelled.ask(ROW)["y"][0, 0] == answer
        with pytest.raises(ServingError, match="Request to assign label to version 3 of model toy, which is not "
                                               "currently available"):
            client.reload(configured(base, 'version_labels { key: "stable" value: 3 }'))
        with GrpcClient(server.grpc, "toy", label="stable") as labelled:
            assert labelled.ask(ROW)["y"][0, 0] == 2


def test_a_reload_adds_and_removes_models_and_refuses_the_impossible(base, toy_two, tmp_path):
    add(toy_two, tmp_path / "other", 5) if (tmp_path / "other").mkdir() is None else None
    with serve(base) as server, GrpcClient(server.grpc, "other", retry=False) as client:
        client.reload(configured(tmp_path / "other", name="other"))
        assert client.ask(ROW)["y"][0, 0] == 11
        with GrpcClient(server.grpc, "toy", retry=False) as gone, pytest.raises(ServingError,
                                                                                match="Servable not found"):
            gone.ask(ROW)
        for broken, words in ((configured(tmp_path / "nowhere", name="new"), "Could not find base path"),
                              (configured("relative", name="new"), "absolute path")):
            with pytest.raises(ServingError, match=words):
                client.reload(broken)
        assert client.ask(ROW)["y"][0, 0] == 11


def test_the_configuration_file_is_watched(base, toy_two, tmp_path):
    add(toy_two, base, 2)
    config = tmp_path / "models.config"
    config.write_text(f'model_config_list {{ config {{ name: "toy" base_path: "{base}" model_platform: "tensorflow" }} '
                      '}')
    with running(model_config_file=str(config), model_config_file_poll_wait_seconds=1) as server, \
            GrpcClient(server.grpc, "toy") as client:
        time.sleep(1.2)
        config.write_text("model_config_list { broken")
        time.sleep(1.5)
        assert client.status()[2] == "AVAILABLE"
        config.write_text(f'model_config_list {{ config {{ name: "toy" base_path: "{base}" model_platform: '
                          '"tensorflow" '
                          "model_version_policy { specific { versions: 1 } } } }")
        wait(lambda: client.status().get(1) == "AVAILABLE" and client.status()[2] == "END")


def test_tflite_is_served_row_by_row(tmp_path):
    write_tflite(tmp_path / "base" / "1")
    with serve(tmp_path / "base") as server, GrpcClient(server.grpc, "toy") as client:
        result = client.ask({"x": np.array([[1, 2], [3, 4], [5, 6]], "float32")})
        assert result["y"].tolist() == [[2, 3], [4, 5], [6, 7]]
        assert client.signatures["serving_default"].inputs[0].shape == (2,)


def test_tflite_is_preferred_where_it_is_asked_for(base, tmp_path):
    write_tflite(tmp_path / "lite" / "1", bias=5.0)
    shutil.copy(tmp_path / "lite" / "1" / "model.tflite", base / "1")
    for prefer, answer in ((False, 2), (True, 6)):
        with serve(base, prefer_tflite_model=prefer) as server, GrpcClient(server.grpc, "toy") as client:
            assert client.ask(ROW)["y"][0, 0] == answer


def test_a_saved_model_of_tensorflow_one_is_served(tmp_path):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.string, [None])
        values = v1.io.parse_example(inputs, {"v": tf.io.FixedLenFeature([2], tf.float32)})["v"]
        weight = v1.get_variable("weight", initializer=tf.constant(3.0))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "base" / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], {
            "serving_default": v1.saved_model.classification_signature_def(
                inputs, tf.tile(tf.constant([["no", "yes"]]), [tf.shape(values)[0], 1]), values * weight)})
        builder.save()
    with serve(tmp_path / "base", enable_signature_method_name_check=True) as server, GrpcClient(server.grpc,
                                                                                                 "toy") as client:
        example = tf.train.Example()
        example.features.feature["v"].float_list.value.extend([1, 2])
        assert client.classify([example], signature="") == [[("no", 3.0), ("yes", 6.0)]]


@pytest.mark.parametrize("make, words", [
    (lambda base: None, "No versions of servable toy found under base path"),
    (lambda base: (base / "1").mkdir(), "Could not find SavedModel"),
    (lambda base: base.rmdir(), "Could not find base path"),
])
def test_a_server_without_a_model_does_not_start(tmp_path, make, words):
    (tmp_path / "base").mkdir()
    make(tmp_path / "base")
    with pytest.raises(StartError, match=words), serve(tmp_path / "base"):
        pass


def test_settling_looks_at_times_and_sizes(tmp_path):
    settling = versions.Settling()
    (tmp_path / "file").write_text("a")
    assert not settling.whole(tmp_path)
    time.sleep(versions.SETTLED + 0.1)
    assert settling.whole(tmp_path)
    (tmp_path / "file").write_text("ab")
    assert not settling.whole(tmp_path)
