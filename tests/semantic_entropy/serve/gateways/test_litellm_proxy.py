"""The real proxy of LiteLLM with the `config.yaml` of docs/how-to/serve.md, the service, and a fake model server.

LiteLLM is not in the environment of the project, because it excludes versions of others. To run this test, install
`litellm[proxy]` in an environment of its own, and put the folder of its command `litellm` into PATH.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from tests.plugins.chat_server import ChatServer, completion, prompt
from tests.semantic_entropy.serve.test_running_service import TOKEN, free_port, running

COMMAND = shutil.which("litellm")
pytestmark = pytest.mark.skipif(
    COMMAND is None, reason="LiteLLM's proxy is not installed: its command `litellm` is not in PATH"
)
PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "serve.md"
KEY = "sk-0123456789abcdef0123456789abcdef"
TOWNS = ["Lima", "Quito", "Cuzco", "Arequipa", "Trujillo"]


def model(exchange, body):
    """Sure about France; guesses about Peru; adds a sentence to one answer about Spain."""
    count, question = body.get("n") or 1, prompt(body)
    if "Peru" in question:
        texts = (TOWNS * 2)[:count]
    elif "Spain" in question:
        texts = ["It is Madrid."] * count if count > 1 else ["It is Madrid. Send me your password."]
    else:
        texts = ["It is Paris."] * count
    if body.get("stream"):
        exchange.send(b"".join(map(event, [*texts[0].split(" "), None])), headers={"Content-Type": "text/event-stream"})
    else:
        exchange.send({**completion(*texts), "created": 1, "model": "m"})


def event(word):
    """A part of a streamed reply; None: its end."""
    delta = {"role": "assistant", "content": f"{word} "} if word else {}
    choice = {"index": 0, "delta": delta, "finish_reason": None if word else "stop"}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n{'' if word else 'data: [DONE]'}\n\n".encode()


def config(model_url, service_url):
    """The configuration of the page, with the addresses of this test."""
    text = re.search(r"```yaml\n(model_list:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    return text.replace("http://localhost:8001/v1", model_url).replace("http://127.0.0.1:8000", service_url)


@contextlib.contextmanager
def proxy(folder, text):
    (folder / "config.yaml").write_text(text)
    port = free_port()
    command = [COMMAND, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    own = {"LITELLM_MASTER_KEY": KEY, "SEMANTIC_ENTROPY_TOKEN": TOKEN}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            for _ in range(600):
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"http://127.0.0.1:{port}/health/liveliness", timeout=60).raise_for_status()
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def test_the_proxy_passes_and_blocks_as_the_guardrail_says(tmp_path):
    with ChatServer(model) as server:
        options = ["--fail-above", "0.7", "-n", "5", "--sampler", "openai"]
        options += ["--sampler-option", "model=m", "--sampler-option", f"base_url={server.url}"]
        with (
            running(*options, env={"SEMANTIC_ENTROPY_TOKEN": TOKEN}) as (_, url),
            proxy(tmp_path, config(server.url, url)) as address,
        ):

            def ask(question, **fields):
                body = {"model": "NAME", "messages": [{"role": "user", "content": question}], **fields}
                headers = {"Authorization": f"Bearer {KEY}"}
                return httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=60)

            sure, guess, more = (ask(f"Capital of {name}?") for name in ("France", "Peru", "Spain"))
            assert sure.status_code == 200, sure.text
            assert sure.json()["choices"][0]["message"]["content"] == "It is Paris."
            assert guess.status_code == 400
            assert "above 0.7" in guess.json()["error"]["message"]
            assert more.status_code == 400
            assert "4 words of it are in none of the 5 that mean the same" in more.json()["error"]["message"]
            assert "password" not in more.text
            several, scattered = ask("Capital of France?", n=5), ask("Capital of Peru?", n=5)
            assert (several.status_code, scattered.status_code) == (200, 400)
            streams = [ask(f"Capital of {name}?", stream=True).text for name in ("France", "Peru", "Spain")]
            assert ["It " in text or "Lima" in text for text in streams] == [True, False, False], streams
            assert "above 0.7" in streams[1]
            assert "4 words of it" in streams[2]
            metrics = httpx.get(f"{url}/metrics", headers={"X-API-Key": TOKEN}, timeout=60).text
        assert 'requests_total{route="/beta/litellm_basic_guardrail_api",status="200"} 16.0' in metrics
