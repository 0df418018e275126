"""What the tests of the asynchronous trainer put in the place of vLLM and of the GPU. All other code is TRL's.

FakeVllm         an HTTP server on the loopback with the endpoints of vLLM that TRL calls, except those for weights
NoTransfer       TRL's interface for sending weights; sends nothing
cpu_attention    flash_attn_varlen_func of the kernel that TRL's tree attention loads, computed with torch
"""

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import torch

from empo_rl.run.tiny_model import make_tokenizer

OLD_LOG_PROB = -3.0  # of each sampled token; near that of an untrained model with 31 words
RESPONSE_TEMPLATE = {  # of the tiny model's chat template, in the place of one that TRL knows
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {"content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"}},
}


def make_chat_tokenizer():
    """The tokenizer of the tiny model, with the template by which TRL's worker reads a response."""
    tokenizer = make_tokenizer()
    tokenizer.response_template = RESPONSE_TEMPLATE
    return tokenizer


class FakeVllm:
    """Answers each question with its answers in turn: `answers` maps the text of a question to a list of texts.

    Attributes:
        url: the address of the server.
        asked: the questions, one for each request.
    """

    def __init__(self, tokenizer, answers):
        self._tokenizer = tokenizer
        self._answers = {question: itertools.cycle(texts) for question, texts in answers.items()}
        self._lock = threading.Lock()
        self.asked = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = fake._complete(body) if self.path == "/v1/completions" else None
                self._reply(reply)

            def do_GET(self):
                self._reply({"data": [{"max_model_len": 64}]} if self.path == "/v1/models" else {})

            def _reply(self, reply):
                data = json.dumps(reply or {}).encode()
                self.send_response(404 if reply is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _complete(self, body):
        prompt = self._tokenizer.decode(body["prompt"])
        with self._lock:
            (question,) = [question for question in self._answers if question in prompt]
            self.asked.append(question)
            text = next(self._answers[question])
        ids = [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._tokenizer.eos_token_id]
        ids = ids[: body["max_tokens"]]
        return {"choices": [{"token_ids": ids, "logprobs": {"token_logprobs": [OLD_LOG_PROB] * len(ids)}}]}


class NoTransfer:
    """Sends no weights: the completions of FakeVllm do not depend on them."""

    def init_weight_transfer(self):
        pass

    def pause(self):
        pass

    def send_weights(self, iterator):
        for _ in iterator:
            pass

    def resume(self):
        pass

    def destroy(self):
        pass


def cpu_attention(q, k, v, cu_q, cu_k, max_q, max_k, softmax_scale=None, causal=True, window_size=(-1, -1)):
    """Attention of each segment of queries to its keys; the last query sees the last key, as in flash attention."""
    assert causal
    assert window_size == (-1, -1)
    parts = []
    for (q0, q1), (k0, k1) in zip(itertools.pairwise(cu_q.tolist()), itertools.pairwise(cu_k.tolist()), strict=True):
        queries, keys, values = q[q0:q1], k[k0:k1], v[k0:k1]
        repeat = queries.shape[1] // keys.shape[1]  # grouped-query attention
        keys, values = keys.repeat_interleave(repeat, 1), values.repeat_interleave(repeat, 1)
        scores = torch.einsum("qhd,khd->hqk", queries, keys) * softmax_scale
        visible = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).tril(diagonal=(k1 - k0) - (q1 - q0))
        weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
        parts.append(torch.einsum("hqk,khd->qhd", weights, values))
    return torch.cat(parts)


def without_gpu(patch):
    """Let TRL's asynchronous trainer start without vLLM and without a GPU. `patch` is `monkeypatch.setattr`."""
    patch("trl.experimental.async_grpo.async_rollout_worker.is_vllm_available", lambda *_, **__: True)
    patch(
        "trl.experimental.async_grpo.async_grpo_trainer.get_peak_flops_per_device", lambda *_: None
    )  # of a GPU's name
    kernel = SimpleNamespace(flash_attn_varlen_func=cpu_attention)
    patch("trl.experimental.async_grpo.packing._flash_attn", lambda: kernel)
