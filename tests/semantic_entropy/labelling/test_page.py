"""The page on which a person labels rows: in a real browser where there is one, and as a file; its export."""

import html.parser
import json
import re

import pytest
from click.testing import CliRunner

from semantic_entropy.cli import main
from tests.chromium import CHROMIUM, Chromium
from tests.semantic_entropy.cli.command import read, write

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian's package: chromium)")
HOSTILE = (
    "</script><script>document.title = 'owned'</script>",
    "<!-- <script> @DATA@ @SCRIPT@",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "javascript:alert(1)\u2028\u2029\u0000\ud800 &lt;b&gt; ${1} $& \\u003c",
    "\u202eright to left \u05d0\u05d1",
)
ROWS = [
    {"id": i, "question": f"Question {i}? {text}", "reply": f"Reply {i} {text}", "note<b>": [text]}
    for i, text in enumerate(HOSTILE)
]


def label(*arguments):
    return CliRunner().invoke(main, ["label", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """Write the rows and their page. Return (rows, page, output)."""
    rows, page = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "page.html"
    ran = label(rows, "--html", page, "--answer", "reply", "--show", "note<b>", "--order", "file")
    assert ran.exit_code == 0, ran.output
    assert "5 answers to label" in ran.stderr
    return rows, page, tmp_path / "out.jsonl"


class Elements(html.parser.HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def data_of(page):
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(block)


def export(page, **labels):
    """The export that the page makes for these labels, by the numbers of the rows."""
    data = data_of(page)
    listed = [
        {"key": item["key"], "number": item["number"], "correct": labels[f"row{item['number']}"]}
        for item in data["items"]
        if f"row{item['number']}" in labels
    ]
    return {"format": data["format"], "version": data["version"], "page": data["page"], "labels": listed}


def test_the_texts_of_a_page_are_data_and_no_markup(files):
    _, page, _ = files
    elements = Elements(page).found
    assert [tag for tag, _ in elements].count("script") == 2
    assert not [tag for tag, _ in elements if tag in ("img", "iframe", "link", "object", "b")]
    assert not [attrs for _, attrs in elements if {"src", "href", "onclick", "style"} & attrs.keys()]
    items = data_of(page)["items"]
    assert [item["question"] for item in items] == [row["question"].replace("\ud800", "\ufffd") for row in ROWS]
    assert items[0]["shown"] == [["note<b>", f"- {HOSTILE[0]}"]]
    (policy,) = [attrs["content"] for _, attrs in elements if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_every_control_of_a_page_has_a_name_for_a_screen_reader(files):
    _, page, _ = files
    text = page.read_text(encoding="utf-8")
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert re.search(r'<label for="progress" id="count">', text)
    assert all(re.search(r"\w", button) for button in re.findall(r"<button[^>]*>(.*?)</button>", text))


def test_labels_of_an_export_are_stored_by_the_keys_of_the_rows(files, tmp_path):
    rows, page, out = files
    (tmp_path / "export.json").write_text(json.dumps(export(page, row1=True, row3=False)))
    write(rows, [ROWS[3], {**ROWS[0], "more": 1}, ROWS[1]])  # other positions, another field, fewer rows
    ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / "export.json")
    assert ran.exit_code == 1
    assert "2 labels, 1 taken over; 1 belong to no row" in ran.stderr  # row 3 of the file is the row with id 2
    assert [(row["id"], row["answer_correct"]) for row in read(out)] == [(3, None), (0, True), (1, None)]
    assert read(out)[1]["label"]["by"] == "page"
    again = label(rows, "--html", page, "-o", out, "--answer", "reply")
    assert again.exit_code == 0
    assert len(data_of(page)["items"]) == 2


def test_a_later_export_replaces_the_labels_of_an_earlier_one(files, tmp_path):
    rows, page, out = files
    for correct in (True, False):
        (tmp_path / "export.json").write_text(json.dumps(export(page, row1=correct, row2=True)))
        ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / "export.json")
        assert ran.exit_code == 0, ran.output
        assert [row["answer_correct"] for row in read(out)][:3] == [correct, True, None]
    assert "2 labels, 1 taken over; 1 of them replace another label of a page" in ran.stderr


def test_a_label_of_the_rows_is_not_replaced_by_an_export(files, tmp_path):
    rows, page, out = files
    (tmp_path / "export.json").write_text(json.dumps(export(page, row1=True, row2=True)))
    write(rows, [{**ROWS[0], "answer_correct": False}, ROWS[1]])
    ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / "export.json")
    assert ran.exit_code == 1
    assert "1 contradict a label of the input or of a terminal, which stays" in ran.stderr
    assert [row["answer_correct"] for row in read(out)] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {**e, "labels": [{"key": "0" * 32, "correct": True}]}, "none of its 1 label belongs to a row"),
        (lambda e: {**e, "labels": []}, "has no label"),
        (lambda e: {**e, "labels": {}}, "'labels' is {}; it must be a list"),
        (lambda e: {**e, "labels": [{**e["labels"][0], "correct": "yes"}]}, "'labels[0]' is"),
        (lambda e: {**e, "labels": [{**e["labels"][0], "correct": 1}]}, "'labels[0]' is"),
        (lambda e: {**e, "labels": [{**e["labels"][0], "key": "../x"}]}, "'labels[0]' is"),
        (lambda e: {**e, "labels": [5]}, "'labels[0]' is 5"),
        (
            lambda e: {**e, "labels": [*e["labels"], {**e["labels"][0], "correct": False}]},
            "contradicts an earlier label",
        ),
        (lambda e: {**e, "version": 2}, "has version 2 of the export, and this release reads 1"),
        (lambda e: {**e, "format": "other"}, "neither the export of a page"),
        (lambda _: [1], "neither the export of a page"),
        (lambda _: "text", "neither the export of a page"),
    ],
)
def test_a_foreign_or_damaged_export_is_an_error(change, message, files, tmp_path):
    rows, page, out = files
    (tmp_path / "export.json").write_text(json.dumps(change(export(page, row1=True))))
    ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / "export.json")
    assert ran.exit_code == 1
    assert message in ran.stderr
    assert not out.exists() or not out.read_text()


@pytest.mark.parametrize(
    "text", [b"", b"[" * 100_000, b"\xff\xfe{", b"<html>", b'{"format": "semantic-entropy labels"']
)
def test_a_file_that_is_no_json_is_an_error(text, files, tmp_path):
    rows, _, out = files
    (tmp_path / "export.json").write_bytes(text)
    ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / "export.json")
    assert ran.exit_code == 1
    assert ran.stderr.startswith("Error: ")


def test_a_page_replaces_no_other_file(files, tmp_path):
    rows, _, _ = files
    other = tmp_path / "index.html"
    other.write_text("<p>mine</p>")
    ran = label(rows, "--html", other, "--answer", "reply")
    assert ran.exit_code == 1
    assert "exists and is not such a page" in ran.stderr
    assert other.read_text() == "<p>mine</p>"


def test_a_page_can_hold_a_random_part_of_the_rows(tmp_path):
    rows = write(tmp_path / "rows.jsonl", [{"id": i, "question": "Q?", "reply": str(i)} for i in range(200)])
    pages = [tmp_path / name for name in ("a.html", "b.html")]
    for page in pages:
        assert label(rows, "--html", page, "--answer", "reply", "--limit", 20).exit_code == 0
    first, second = ([item["number"] for item in data_of(page)["items"]] for page in pages)
    assert first == second
    assert len(first) == 20
    assert first != sorted(first)
    assert max(first) > 100


@in_a_browser
def test_the_page_works_with_keys_and_keeps_labels_until_they_are_exported(files, tmp_path):
    rows, page, out = files
    with Chromium(profile=tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.text("count") == "0 of 5 labelled"
        browser.press("y")
        browser.press("n")
        assert browser.text("live") == "Wrong. 2 of 5 labelled"
        assert browser.evaluate("document.activeElement.id") == "place"
        browser.press("u")
        assert (browser.text("place"), browser.text("state")) == ("Answer 2 of 5", "No label yet.")
        browser.press("s")
        browser.press("N")
        browser.press("ArrowLeft")
        assert browser.text("state") == "Labelled: wrong."
        browser.evaluate("document.getElementById('keys').click()")  # shortcuts off
        browser.press("y")
        assert browser.text("state") == "Labelled: wrong."
        browser.wait_for_storage(browser.evaluate("localStorage.getItem(store)"))
    with Chromium(profile=tmp_path / "profile") as browser:  # the browser was killed: the labels are there
        browser.open(page)
        assert browser.text("count") == "2 of 5 labelled"
        assert browser.text("place") == "Answer 2 of 5"  # the first one without a label
        for _ in range(3):
            browser.press("y")
        assert "All answers have a label" in browser.text("live")
        browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        browser.evaluate("document.getElementById('export').click()")
        name = browser.text("state").split(" as ")[1]
        while not ((tmp_path / name).exists() and (tmp_path / name).stat().st_size):  # it is empty at first
            browser.evaluate("1")
        assert browser.problems == []
        assert [url for url in browser.requests if not url.startswith(("file:", "blob:", "about:"))] == []
    ran = label(rows, "-o", out, "--answer", "reply", "--import", tmp_path / name)
    assert ran.exit_code == 0, ran.output
    assert [row["answer_correct"] for row in read(out)] == [True, True, False, True, True]


@in_a_browser
def test_hostile_texts_are_shown_as_they_are(files, tmp_path):
    _, page, _ = files
    with Chromium(profile=tmp_path / "profile") as browser:
        browser.open(page)
        for i, text in enumerate(HOSTILE):
            shown = browser.evaluate("Array.from(document.querySelectorAll('dd'), (each) => each.textContent)")
            clean = text.replace("\ud800", "\ufffd")
            assert shown[:2] == [f"Question {i}? {clean}", f"Reply {i} {clean}"]
            assert browser.evaluate("document.querySelectorAll('dl *:not(dt, dd), img').length") == 0
            browser.press("ArrowRight")
        assert browser.evaluate("document.title") == "Label answers"
        assert browser.evaluate("document.querySelectorAll('dt')[2].textContent") == "note<b>"
        assert browser.problems == []
        with pytest.raises(AssertionError, match="requires 'TrustedHTML'"):  # the policy allows no text as HTML
            browser.evaluate(
                "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')"
            )
        assert browser.evaluate("document.title") == "Label answers"


@in_a_browser
def test_the_page_fits_a_phone_has_a_dark_mode_and_names_for_a_screen_reader(files, tmp_path):
    _, page, _ = files
    with Chromium(profile=tmp_path / "profile") as browser:
        browser.send("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
        browser.open(page)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 320
        heights = browser.evaluate("Array.from(document.querySelectorAll('button'), (each) => each.offsetHeight)")
        assert min(heights) >= 44  # a finger hits it
        colours = []
        for scheme in ("light", "dark"):
            browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            colours.append(browser.evaluate("getComputedStyle(document.getElementById('answers')).backgroundColor"))
        assert len(set(colours)) == 2
        browser.send("Accessibility.enable")
        nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]
        assert [name for role, name in named if role == "button" and not name] == []
        assert ("progressbar", "0 of 5 labelled") in named
        assert ("group", "Your label") in named
        assert any(role == "checkbox" and name.strip().startswith("Keys") for role, name in named)
        assert {role for role, _ in named} >= {"main", "heading", "navigation", "status"}


@in_a_browser
def test_a_browser_without_storage_warns_and_exports_all_the_same(files, tmp_path):
    _, page, _ = files
    with Chromium(profile=tmp_path / "profile") as browser:
        browser.send(
            "Page.addScriptToEvaluateOnNewDocument",
            source="Object.defineProperty(window, 'localStorage', {get() {throw new Error('no')}})",
        )
        browser.open(page)
        browser.press("y")
        assert browser.text("count") == "1 of 5 labelled"
        assert "keeps no data" in browser.text("problem")
        assert browser.evaluate("document.getElementById('problem').hidden") is False
        assert browser.evaluate("exported().labels.length") == 1
        browser.evaluate("window.onbeforeunload = null")
