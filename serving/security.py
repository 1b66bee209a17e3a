"""Who may ask: TLS from an SSLConfig, and bearer tokens."""
from __future__ import annotations

import hmac
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import grpc

from serving import messages
from serving.errors import ServingError, StartError
from serving.flags import Options


class Guard:
    """Checks the bearer token of requests, where one is asked for.

    Raises:
        StartError: the token's file cannot be read, or holds none.
    """

    def __init__(self, options: Options):
        self._expected = b""
        if options.bearer_token_file:
            try:
                token = Path(options.bearer_token_file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise StartError(f"{options.bearer_token_file}: cannot be read: "
                                 f"{getattr(error, 'strerror', None) or error}") from error
            if not token:
                raise StartError(f"{options.bearer_token_file}: there is no token in it")
            self._expected = f"Bearer {token}".encode()

    def check(self, authorization: bytes | str | None) -> None:
        """Raise ServingError (UNAUTHENTICATED) where the header is not the expected one."""
        if not self._expected:
            return
        value = authorization.encode() if isinstance(authorization, str) else authorization or b""
        if not hmac.compare_digest(value, self._expected):
            raise ServingError(grpc.StatusCode.UNAUTHENTICATED, "Give the server's token: Authorization: Bearer TOKEN")


class Certificates:
    """An SSLConfig file: the server's key and certificate as PEM text, and whether clients must show one that
    `custom_ca` signed.

    Raises:
        StartError: the file is broken, or its certificates are.
    """

    def __init__(self, path: Path):
        self.config: Any = messages.read(path, messages.SSLConfig)
        if not self.config.server_key or not self.config.server_cert:
            raise StartError(f"{path}: server_key and server_cert must both be given, as PEM text")
        if self.config.client_verify and not self.config.custom_ca:
            raise StartError(f"{path}: client_verify needs custom_ca, the authority that signs clients' certificates")
        try:
            self.context()
        except ssl.SSLError as error:
            raise StartError(f"{path}: key and certificate do not fit together, or are not PEM text: "
                             f"{error.reason or error}") from error

    def grpc(self) -> grpc.ServerCredentials:
        """For gRPC's server."""
        return grpc.ssl_server_credentials(
            [(self.config.server_key.encode(), self.config.server_cert.encode())],
            root_certificates=self.config.custom_ca.encode() or None, require_client_auth=self.config.client_verify)

    def context(self) -> ssl.SSLContext:
        """For the REST server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("key", self.config.server_key), ("cert", self.config.server_cert)):
                with open(os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                    file.write(text)
            context.load_cert_chain(Path(folder) / "cert", Path(folder) / "key")
        if self.config.custom_ca:
            context.load_verify_locations(cadata=self.config.custom_ca)
        if self.config.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context
