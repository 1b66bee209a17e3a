"""A headless Chromium, driven through ChromeDriver's own protocol (W3C WebDriver)."""
from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1280,1600"]


def there() -> bool:
    """Return whether Chromium and its driver are installed."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Nobody reads it."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Return the address of a folder, served as it lies there."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def wait_for(address: str, ready: str, seconds: float = 120, screenshot: Path | None = None) -> dict[str, str]:
    """Open a page and wait until a value of its body's dataset is there; the dataset. `ready` or `failed` ends the
    wait."""
    with tempfile.TemporaryDirectory() as profile, _driver() as call:
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
        session = call("POST", "/session",
                       {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})["sessionId"]
        try:
            call("POST", f"/session/{session}/url", {"url": address})
            until = time.monotonic() + seconds
            while True:
                result = call("POST", f"/session/{session}/execute/sync",
                             {"script": "return {...document.body.dataset}", "args": []})
                if ready in result or "failed" in result or time.monotonic() > until:
                    if screenshot is not None:
                        screenshot.write_bytes(base64.b64decode(call("GET", f"/session/{session}/screenshot")))
                    return result
                time.sleep(0.2)
        finally:
            call("DELETE", f"/session/{session}")


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    assert process.stdout is not None
    port = next(int(line.rstrip(" .\n").rpartition(" ")[2]) for line in process.stdout
                if "started successfully on port" in line)

    def call(method: str, path: str, body: Any = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"},
                                         method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    try:
        yield call
    finally:
        process.kill()
        process.wait()
