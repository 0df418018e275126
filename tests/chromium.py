"""A headless Chromium, driven by the DevTools protocol over a pipe: real clicks and keys, and screenshots.

`--remote-debugging-pipe` reads JSON messages from file descriptor 3 and writes them to 4, each ended by a zero byte. So
no other library or server is needed: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --mute-audio --hide-scrollbars --lang=en"
)
_EVALUATE = {"returnByValue": True, "awaitPromise": True, "allowUnsafeEvalBlockedByCSP": False}
_SECONDS = 120  # a busy machine starts the browser slowly


class Chromium:
    """One tab. `with Chromium() as tab:` starts and ends the browser.

    Args:
        width: of the window, in CSS pixels.
        height: of the window, in CSS pixels.
        profile: the folder of the profile, which a second browser continues; None: a new one, removed at the end.

    Attributes:
        events: the messages of the browser that answer no command, such as requests and console messages.
    """

    def __init__(self, width: int = 1200, height: int = 800, *, profile: Path | None = None) -> None:
        assert CHROMIUM
        self.events: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._rest = b""
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        read_commands, self._out = os.pipe()
        self._in, write_answers = os.pipe()
        self._profile = profile or Path(self._folder.name)
        command = (
            f'exec "{CHROMIUM}" {_OPTIONS} --user-data-dir="{self._profile}" 3<&{read_commands} 4>&{write_answers}'
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]  # type: ignore[no-any-return]
            self.events.append(answer)

    @property
    def problems(self) -> list[dict[str, Any]]:
        """The exceptions of scripts, and what the browser logged, such as a violation of the policy."""
        return [event for event in self.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]

    @property
    def requests(self) -> list[str]:
        """The addresses that were requested."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def open(self, path: Path) -> None:
        """Open a file, and wait until its script has ended."""
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, **_EVALUATE)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = _SECONDS) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click the middle of the first element with this selector, with the mouse."""
        box = self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); "
            "node.scrollIntoView({block: 'center', behavior: 'instant'}); const box = node.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key: a character, or a name such as "ArrowDown"."""
        codes = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "Escape": 27, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        more = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, text=text, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.send("Input.insertText", text=text)

    def text(self, element: str) -> str:
        """Return the text of the element with this id."""
        return str(self.evaluate(f"document.getElementById({json.dumps(element)}).textContent"))

    def wait_for_storage(self, value: str) -> None:
        """Wait until a value of the page's local storage is on disk: Chromium writes it seconds later."""
        folder = self._profile / "Default" / "Local Storage" / "leveldb"
        end = time.monotonic() + _SECONDS
        while not any(value.encode() in log.read_bytes() for log in folder.glob("*.log")):
            assert time.monotonic() < end, f"not stored: {value}"
            time.sleep(0.05)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def media(self, media: str = "", scheme: str = "light", *, forced_colors: bool = False) -> None:
        """Show the page as on paper ("print"), with a colour scheme, or with the few colours of the system."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features["forced-colors"] = "active" if forced_colors else "none"
        listed = [{"name": name, "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", media=media, features=listed)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Return a PNG of the window, or of the whole page."""
        image = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(image["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=False)["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], _SECONDS)
            assert ready, f"Chromium did not answer in {_SECONDS} seconds"
            part = os.read(self._in, 1 << 20)
            assert part, "Chromium ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]
