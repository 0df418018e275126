"""A local server with the part of Langfuse's public API that reads observations and takes scores.

It keeps scores by their ids, as Langfuse does. It answers as the API: observations in pages with a cursor, inputs and
outputs as raw texts, 202 for a batch of scores, and 207 with counts and messages if it rejects some.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class LangfuseServer:
    """The state of the server: observations, scores by id, and the requests."""

    def __init__(self, page=3):
        self.page, self.observations, self.scores, self.requests = page, [], {}, []
        self.refused, self.broken = set(), False  # observations whose scores it rejects; answer 500 to scores

    def add(self, question, output, **fields):
        number = len(self.observations)
        self.observations.append(
            {
                "id": f"{number:016x}",
                "traceId": f"{number:032x}",
                "startTime": "2026-11-27T10:00:00.000Z",
                "endTime": "2026-11-27T10:00:01.000Z",
                "projectId": "p",
                "parentObservationId": None,
                "isRootObservation": True,
                "type": "GENERATION",
                "name": "answer",
                "level": "DEFAULT",
                "model": "m1",
                "input": json.dumps([{"role": "user", "content": question}]),
                "output": output,
                **fields,
            }
        )
        return self.observations[-1]["id"]

    def get(self, query):
        chosen = [each for each in self.observations if query.get("type", [each["type"]]) == [each["type"]]]
        chosen = [each for each in chosen if query.get("name", [each["name"]]) == [each["name"]]]
        start = int(query.get("cursor", ["0"])[0])
        more = start + self.page < len(chosen)
        return 200, {
            "data": chosen[start : start + self.page],
            "meta": {"cursor": str(start + self.page)} if more else {},
        }

    def post(self, batch):
        if self.broken:
            return 500, {"message": "broken"}
        accepted = [score for score in batch if score["observationId"] not in self.refused]
        self.scores |= {score["id"]: score for score in accepted}
        if len(accepted) == len(batch):
            return 202, {"message": "Accepted"}
        rejected = len(batch) - len(accepted)
        return 207, {"accepted": len(accepted), "rejected": rejected, "errors": [{"message": "refused"}] * rejected}


@contextmanager
def running(state):
    """Yield the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status, body):
            state.requests.append((self.command, self.path))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self):
            url = urlsplit(self.path)
            known = url.path == "/api/public/v2/observations"
            self.answer(*(state.get(parse_qs(url.query)) if known else (404, {"message": url.path})))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(*(state.post(body) if self.path == "/api/public/scores" else (404, {"message": self.path})))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
