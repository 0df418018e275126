"""A headless Chromium that a test controls over two pipes, by the DevTools protocol. No package is needed for that."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SECONDS = 60.0  # for one answer of the browser: a busy machine starts it slowly
_SWITCHES = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"


class Browser:
    """One page of a browser with its own profile, which a second browser with the same folder continues."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.errors, self.requests = folder, [], []
        self._number, self._bytes = 0, b""

    def __enter__(self) -> Self:
        assert CHROMIUM
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        switches = f"{_SWITCHES} --user-data-dir='{self.folder / 'profile'}'"
        command = f"exec {CHROMIUM} {switches} about:blank 3<&{to_browser} 4>&{from_browser}"
        self._process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(self._write, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(_SECONDS)
        finally:
            self._process.kill()
            os.close(self._write)
            os.close(self._read)

    def __call__(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]
            self._note(found)

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self("Page.navigate", url=page.as_uri())
        self.wait_for("document.readyState === 'complete'")

    def eval(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until the expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.eval(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.01)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))

    def text(self, element: str) -> str:
        """Return the text of the element with this id."""
        return self.eval(f"document.getElementById({element!r}).textContent")

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.errors.append(parameters)
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._bytes:
            assert select.select([self._read], [], [], _SECONDS)[0], "the browser does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has ended"
            self._bytes += part
        line, _, self._bytes = self._bytes.partition(b"\0")
        return json.loads(line)
