"""How the server says no: gRPC's status codes, and the HTTP codes that TF Serving's REST API gives for them."""
from __future__ import annotations

import grpc

#: As TF Serving's `ToHTTPStatusCode` maps them (model_servers/http_server.cc).
HTTP = {"OK": 200, "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429, "FAILED_PRECONDITION": 400,
        "ABORTED": 409,
        "OUT_OF_RANGE": 400, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503, "DATA_LOSS": 500,
        "UNAUTHENTICATED": 401}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request that is refused or failed.

    Args:
        code: gRPC's status code.
        message: what to tell the client; TF Serving's own words where it has some.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def number(self) -> int:
        """Return the code as protocol buffers hold it."""
        return self.code.value[0]

    @property
    def http(self) -> int:
        """Return the code as HTTP has it."""
        return HTTP[self.code.name]


class StartError(Exception):
    """The server cannot start: one line that says why."""


def invalid(message: str) -> ServingError:
    """Return the error of a malformed request."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """Return the error where there is no such model, version or signature."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def failed_precondition(message: str) -> ServingError:
    """Return the error of a request that is fine, where the server's state is not."""
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)


def unavailable(message: str) -> ServingError:
    """Not now: a client may try again."""
    return ServingError(grpc.StatusCode.UNAVAILABLE, message)


def of_tensorflow(error: Exception) -> ServingError:
    """Return what an error of TensorFlow's becomes: its own code and message, without the graph's nodes behind it."""
    code = _BY_NUMBER.get(getattr(error, "error_code", None) or 2, grpc.StatusCode.UNKNOWN)
    message, _, _ = str(getattr(error, "message", None) or error).partition("\n\t [[")
    return ServingError(code, message)


def of_grpc(error: grpc.RpcError) -> ServingError:
    """Return what a failed call becomes."""
    return ServingError(error.code(), error.details() or error.code().name)
