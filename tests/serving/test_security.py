"""Limits, tokens, certificates, slow and greedy clients."""
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests

from serving.client import GrpcClient, RestClient, Tls
from serving.embedded import running
from serving.errors import ServingError, StartError
from serving.security import Certificates

ROW = {"x": np.array([[1, 2]], "float32")}


def pem_pair(name, authority=None):
    """A key and a certificate as PEM text, signed by itself or by an authority (its key and certificate objects)."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signer, issuer = authority if authority else (key, None)
    made = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"),
                                                        x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                           critical=False)
            .sign(signer, hashes.SHA256()))
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()
    return text, made.public_bytes(serialization.Encoding.PEM).decode(), (key, made)


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """An authority, and keys and certificates of a server and a client that it signed, as files."""
    folder = tmp_path_factory.mktemp("papers")
    _, authority, signer = pem_pair("authority")
    (folder / "authority.pem").write_text(authority)
    for name in ("server", "client"):
        key, certificate, _ = pem_pair(name, signer)
        (folder / f"{name}.key").write_text(key)
        (folder / f"{name}.pem").write_text(certificate)
    return folder


def ssl_config(papers, path, verify):
    def quoted(name):
        return (papers / name).read_text().replace("\n", "\\n")

    path.write_text(f'server_key: "{quoted("server.key")}"\nserver_cert: "{quoted("server.pem")}"\n'
                    f'custom_ca: "{quoted("authority.pem")}"\nclient_verify: {str(verify).lower()}\n')
    return str(path)


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_for_both_protocols(base, papers, tmp_path, mutual):
    with running(model_name="toy", model_base_path=str(base),
                 ssl_config_file=ssl_config(papers, tmp_path / "ssl", mutual)) as server:
        without = Tls(papers / "authority.pem")
        own = Tls(papers / "authority.pem", papers / "client.key", papers / "client.pem")
        for kind, address in ((GrpcClient, server.grpc), (RestClient, server.rest)):
            with kind(address, "toy", tls=own) as client:
                assert client.ask(ROW)["y"][0, 0] == 2
            with kind(address, "toy", tls=without, retry=False, deadline=5) as client:
                if mutual:
                    with pytest.raises(ServingError):
                        client.ask(ROW)
                else:
                    assert client.ask(ROW)["y"][0, 0] == 2
            with kind(address, "toy", retry=False, deadline=3) as client, pytest.raises(ServingError):
                client.ask(ROW)


@pytest.mark.parametrize("text, words", [
    ("server_key: 'x'", "must both be given"), ("server_key: 'x' server_cert: 'y'", "do not fit together, or are not "
                                                                                    "PEM text"),
    ("client_verify: maybe", "SSLConfig: 1:16: "),
])
def test_broken_papers_are_refused(tmp_path, text, words):
    (tmp_path / "ssl").write_text(text)
    with pytest.raises(StartError, match=words):
        Certificates(tmp_path / "ssl")


def test_a_bearer_token_is_asked_for(base, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    with running(model_name="toy", model_base_path=str(base), bearer_token_file=str(tmp_path / "token")) as server:
        for kind, address in ((GrpcClient, server.grpc), (RestClient, server.rest)):
            for token, let_in in (("secret", True), ("guess", False), ("", False)):
                with kind(address, "toy", token=token, retry=False) as client:
                    if let_in:
                        assert client.ask(ROW)["y"][0, 0] == 2
                    else:
                        with pytest.raises(ServingError) as caught:
                            client.ask(ROW)
                        assert caught.value.code.name == "UNAUTHENTICATED"


def test_requests_beyond_the_limit_are_unavailable_and_the_rest_answer(base, tmp_path):
    config = tmp_path / "batching.config"  # a batch waits for more, and so holds the requests that were let in
    config.write_text("max_batch_size { value: 64 } batch_timeout_micros { value: 2000000 }")
    with running(model_name="toy", model_base_path=str(base), max_concurrent_requests=4, enable_batching=True,
                 batching_parameters_file=str(config)) as server:

        def ask(_):
            with GrpcClient(server.grpc, "toy", retry=False) as client:
                try:
                    return "OK" if client.ask(ROW)["y"][0, 0] == 2 else "wrong"
                except ServingError as error:
                    return error.code.name

        with ThreadPoolExecutor(16) as threads:  # four times as many, the most that gRPC lets in
            codes = list(threads.map(ask, range(16)))
        assert (codes.count("OK"), codes.count("UNAVAILABLE")) == (4, 12)
        assert ask(None) == "OK"


def test_messages_over_the_limit_are_refused(base):
    with running(model_name="toy", model_base_path=str(base), max_request_bytes=10_000) as server:
        for kind, address, code in ((GrpcClient, server.grpc, "RESOURCE_EXHAUSTED"),
                                    (RestClient, server.rest, "UNKNOWN")):
            with kind(address, "toy", retry=False, batch=10_000) as client:
                with pytest.raises(ServingError) as caught:
                    client.predict({"x": np.zeros((5000, 2), "float32")})
                assert caught.value.code.name == code
                assert client.ask(ROW)["y"][0, 0] == 2


@pytest.mark.timed
def test_slow_clients_are_let_go(base):
    with running(model_name="toy", model_base_path=str(base), header_timeout_seconds=1.0) as server:
        host, port = server.rest.split(":")
        silent = socket.create_connection((host, int(port)))
        slow_headers = socket.create_connection((host, int(port)))
        slow_headers.sendall(b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\n")
        slow_body = socket.create_connection((host, int(port)))
        slow_body.sendall(b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        start = time.monotonic()
        for one in (silent, slow_headers):
            one.settimeout(5)
            assert one.recv(100) == b""
        slow_body.settimeout(5)
        assert slow_body.recv(1000).startswith(b"HTTP/1.1 408")
        assert 0.8 < time.monotonic() - start < 4
        with requests.Session() as kept:  # a connection that is kept open is not a slow one
            for _ in range(3):
                assert kept.get(f"http://{server.rest}/v1/models/toy").status_code == 200
                time.sleep(0.6)


def test_a_deadline_ends_the_wait_not_the_server(base):
    with running(model_name="toy", model_base_path=str(base), rest_api_timeout_in_ms=1) as server:
        with RestClient(server.rest, "toy", retry=False) as client, pytest.raises(ServingError) as caught:
            for _ in range(20):
                client.ask({"x": np.zeros((20_000, 2), "float32")})
        assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
        with GrpcClient(server.grpc, "toy") as client:
            assert client.ask(ROW)["y"][0, 0] == 2


def test_large_bodies_together_have_a_limit_too(base, monkeypatch):
    from serving import rest

    monkeypatch.setattr(rest, "BODIES", 1)
    with running(model_name="toy", model_base_path=str(base), max_request_bytes=400_000) as server:
        body = b'{"instances": [' + b",".join([b"[1, 2]"] * 40_000) + b"]}"
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(
            requests.post(f"http://{server.rest}/v1/models/toy:predict", data=body).status_code)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(codes) == {200, 503} and len(body) < 400_000
        assert requests.post(f"http://{server.rest}/v1/models/toy:predict", data=body).status_code == 200
