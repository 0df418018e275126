"""Texts that try to run a script, to load something, or to break the page. `window.ran` says that one did."""

from __future__ import annotations

import json

import semantic_entropy

RUN = "window.ran=(window.ran||0)+1"
TEXTS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</SCRIPT ><script>{RUN}//",
    f'<img src=x onerror="{RUN}">',
    f'"><svg onload="{RUN}">',
    f"' onmouseover='{RUN}' x='",
    f'" onfocus="{RUN}" autofocus tabindex="0" x="',
    f"javascript:{RUN}",
    f'<a href="javascript:{RUN}">open</a>',
    f"<!--<script>{RUN}",
    f"--><script>{RUN}</script>",
    f"\u2028{RUN}\u2029",
    f"\\u003cscript\\u003e{RUN}",
    f"]]></style></title><body onload={RUN}>",
    f"${{{RUN}}}`;{RUN};`",
    "@DATA@ @SCRIPT@ @POLICY@ @STYLE@",
    "http://127.0.0.1:9/pixel.png",
    '<base href="http://127.0.0.1:9/"><link rel=stylesheet href="http://127.0.0.1:9/a.css">',
    '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/">',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "lone \ud800 surrogate, \x00 zero, \x1b escape, \u202e reversed",
    "__proto__",
    "constructor",
)


def hostile_row(i: int, text: str) -> dict:
    """A scored row with this text wherever an input, a judge or an estimator can put one."""
    responses = [text, f"{text} again", text + "x" * 400, "plain"]
    row = semantic_entropy.estimate(responses, equivalence="exact").to_dict()
    row["scores"][text] = 0.5 + i / 100
    row["warnings"] = [text]
    row["undecided"] = [{"left": text, "right": text, "reason": text}]
    row["provenance"] |= {"equivalence": text, "equivalence_reason": text, "clusterer": text, "versions": {text: text}}
    row["provenance"] |= {"sampler": text, "undecided": 1, "decided_by": [{"judge": text, "pairs": 1}] * 2}
    row |= {"id": text, "question": text, "responses": responses, "source": text, "gold": text, text: text}
    return {**row, "answer_correct": i % 2 == 0}


def hostile_rows() -> list[dict]:
    """A row for each text."""
    return [json.loads(json.dumps(hostile_row(i, text))) for i, text in enumerate(TEXTS)]
