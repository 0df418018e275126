"""The report in a real browser: what it opens to, sort, filter and search by clicks and keys, and hostile texts."""

from __future__ import annotations

import json
import random
import re

import pytest

import semantic_entropy
from semantic_entropy.report import write_report
from tests.chromium import CHROMIUM, Chromium
from tests.semantic_entropy.report.hostile import RUN, TEXTS, hostile_rows

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")
READY = "document.documentElement.dataset.ready === 'yes'"
COUNT = "document.getElementById('count').textContent"
PROBLEMS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening")


@pytest.fixture(scope="module")
def tab():
    with Chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def rows():
    """120 labelled rows with two sources; one question is in Hebrew."""
    draw = random.Random(1)
    found = []
    for i in range(120):
        responses = [draw.choice(["Paris", "Rome", "Oslo", "Bern", ""][: 1 + i % 5]) for _ in range(8)]
        result = semantic_entropy.estimate(responses, equivalence="exact").to_dict()
        question = "מה בירת צרפת?" if i == 7 else f"Capital number {i}?"
        label = draw.random() < 0.7
        found.append({**result, "id": f"q{i}", "question": question, "responses": responses, "answer_correct": label})
        found[-1]["source"] = "even" if i % 2 == 0 else "odd"
    return found


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(rows, path, title="Capitals")
    return path


@pytest.fixture
def opened(tab, page):
    tab.events.clear()
    tab.resize(1200, 800)
    tab.media()
    tab.open(page)
    tab.wait(READY)
    yield tab
    assert [event for event in tab.events if event["method"] in PROBLEMS] == []
    assert {url.partition("?")[0] for url in tab.requests} == {page.as_uri()}


def texts(tab, selector):
    return tab.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


def shown_count(tab):
    return int(re.match(r"[\d,]+", tab.evaluate(COUNT))[0].replace(",", ""))


def test_it_opens_to_the_five_most_uncertain_answers_and_says_why(opened, rows):
    questions = texts(opened, "#first-list .question")
    entropies = {row["question"]: row["entropy"] for row in rows}
    assert len(questions) == 5
    assert [entropies[each] for each in questions] == sorted(entropies.values(), reverse=True)[:5]
    for why in texts(opened, "#first-list .why"):
        assert re.match(r"Why:only \d of 8 responses mean the same; the rest: \d other meaning", why)
    assert opened.evaluate("document.title").startswith("Capitals")
    assert "of 120 questions" in opened.evaluate("document.getElementById('lead').textContent")
    opened.click("#first-more button")
    assert len(texts(opened, "#first-list .question")) == 10


def test_labels_add_the_curves_and_each_chart_has_words_and_numbers(opened):
    charts = opened.evaluate(
        "[...document.querySelectorAll('figure svg')].map((each) => each.getAttribute('aria-label'))"
    )
    assert len(charts) == 4
    assert "AUROC 0." in charts[2]
    opened.click("#chart-grid figure:nth-child(3) summary")
    lines = texts(opened, "#chart-grid figure:nth-child(3) tbody tr")
    assert lines[0] == "0.0000.000"
    assert lines[-1] == "1.0001.000"


def test_a_search_in_the_answers_and_the_filters_show_the_rows_that_match(opened, rows):
    assert shown_count(opened) == 120
    opened.press("/")
    opened.type("bern")
    expected = [row for row in rows if any("Bern" in text for text in row["responses"])]
    opened.wait(f"{COUNT}.startsWith('{len(expected)} of')")
    opened.evaluate(
        "(() => { const select = document.querySelector('[name=source]'); select.value = 'odd'; "
        "select.dispatchEvent(new Event('change')); })()"
    )
    assert shown_count(opened) == sum(row["source"] == "odd" for row in expected)
    opened.press("/")
    opened.type("x")
    opened.wait(f"{COUNT}.startsWith('No question')")
    assert opened.evaluate("getComputedStyle(document.getElementById('pager')).display") == "none"
    opened.click("#filters [type=reset]")
    assert shown_count(opened) == 120
    opened.click("#bands .agree")
    assert shown_count(opened) == sum(len(row["clusters"]) == 1 for row in rows)
    assert opened.evaluate("document.querySelector('#bands .agree').getAttribute('aria-pressed')") == "true"
    opened.click("#bands .agree")
    assert shown_count(opened) == 120


def test_a_click_on_a_heading_sorts_and_tells_a_screen_reader(opened, rows):
    opened.click("th.c-entropy button")
    state = "document.querySelector('th.c-entropy').getAttribute('aria-sort')"
    assert opened.evaluate(state) == "descending"
    assert "sorted by entropy, highest first" in opened.evaluate(COUNT)
    opened.press("Enter")  # the focus stays on the heading
    assert opened.evaluate(state) == "ascending"
    values = [float(text[:5]) for text in texts(opened, "td.c-entropy")]
    assert values == [pytest.approx(each, abs=6e-4) for each in sorted(row["entropy"] for row in rows)[:50]]
    assert opened.evaluate("document.activeElement.closest('th')?.className") == "c-entropy"


def test_only_the_rows_of_one_page_are_in_the_document(opened):
    assert len(texts(opened, "tr.row")) == 50
    opened.click("#pager button:nth-of-type(4)")  # Last
    assert len(texts(opened, "tr.row")) == 20
    assert "Rows 101 to 120 are shown" in opened.evaluate(COUNT)
    assert opened.evaluate("document.querySelector('#pager button:last-child').disabled")


def test_a_row_opens_to_its_meanings_by_the_keyboard(opened, rows):
    opened.evaluate("document.querySelector('.toggle').focus()")
    opened.press("ArrowDown")
    opened.press("Enter")
    assert opened.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    number = opened.evaluate("Number(document.activeElement.dataset.row)")
    row = rows[number]
    marks = texts(opened, "td.detail .meaning > header .mark")
    valid = sum(cluster["representative"] is not None for cluster in row["clusters"])
    assert marks[:valid] == list("ABCDEFGH"[:valid])
    shares = texts(opened, "td.detail .meaning > header strong")
    assert sum(int(share.split("· ")[1].split()[0]) for share in shares) == 8
    listed = texts(opened, "td.detail .meaning li .text")
    assert set(listed) - {"(empty)"} == set(row["responses"]) - {""}
    opened.press("Enter")
    assert texts(opened, "td.detail") == []
    opened.press("ArrowUp")
    assert opened.evaluate("document.activeElement.textContent").endswith("1")


def test_an_answer_to_check_first_opens_to_its_responses_where_it_is(opened, rows):
    opened.click("#first-list .link")
    assert opened.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    (row,) = [each for each in rows if [each["question"]] == texts(opened, "#first-list .question")[:1]]
    told = f"{sum(each['representative'] is not None for each in row['clusters'])} meanings in 8 responses"
    told += f", {row['invalid']} of them without a valid answer" * (row["invalid"] > 0)
    assert told in texts(opened, "#first-list .opened h3")
    assert set(texts(opened, "#first-list .opened li .text")) - {"(empty)"} == set(row["responses"]) - {""}
    opened.press("Enter")
    assert texts(opened, "#first-list .opened") == []


def test_the_page_says_that_equal_questions_are_in_the_order_of_the_file_and_that_words_were_compared(tab, tmp_path):
    long = "the capital of France is the city of Paris, by the river Seine, as all know"
    rows = [["Rome", "Oslo", "Bern"]] * 7 + [[long, long]] * 60
    summary = write_report(semantic_entropy.estimate(rows, equivalence="text"), tmp_path / "report.html")
    assert "check first (7 rows are as uncertain as the last of these):" in str(summary)
    tab.resize(1280, 900)
    tab.media(forced_colors=True)
    tab.open(tmp_path / "report.html")
    tab.wait(READY)
    assert "7 questions are as uncertain as number 5" in texts(tab, "#first-note")[0]
    assert "half of the answers have 16 words or more" in texts(tab, ".notice")[0]
    assert tab.evaluate("document.querySelector('#first-list > li:nth-child(5)').getBoundingClientRect().bottom") < 900
    bars = (
        "[...document.querySelectorAll('#first-list li:first-child .shares span')].map((part) => getComputedStyle(part)"
    )
    assert len(set(tab.evaluate(f"{bars}.backgroundColor)"))) >= 3  # also with the few colours of the system
    tab.media()


def test_a_text_in_another_script_has_its_own_direction(opened):
    opened.press("/")
    opened.type("צרפת")
    opened.wait(f"{COUNT}.startsWith('1 of')")
    assert opened.evaluate("getComputedStyle(document.querySelector('td.c-question div')).direction") == "rtl"


def test_a_phone_shows_the_table_without_scrolling_sideways_and_keeps_its_roles(opened):
    opened.resize(390, 844, phone=True)
    opened.click(".toggle")
    assert opened.evaluate("document.scrollingElement.scrollWidth") <= 390
    nodes = opened.send("Accessibility.getFullAXTree")["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value")) for n in nodes if not n["ignored"] and "role" in n]
    heads = [name for role, name in named if role == "columnheader"]
    assert {"Question", "Answer", "Agreement", "Entropy", "Label"} < set(heads)
    assert sum(role == "row" for role, _ in named) >= 51
    spoken = ("button", "searchbox", "combobox", "image", "table", "checkbox", "navigation")
    assert [role for role, name in named if role in spoken and not name] == []


LUMINANCE = """(selector) => {
  const node = document.querySelector(selector);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(rgb[i] / 255), 0);
  let back = node;
  while (back && (parse(getComputedStyle(back).backgroundColor)[3] ?? 1) === 0) back = back.parentElement;
  const colours = [getComputedStyle(node).color, getComputedStyle(back).backgroundColor];
  const [dark, bright] = colours.map((each) => light(parse(each))).sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
}"""  # https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_have_the_contrast_that_wcag_asks_for_in_both_colour_schemes(opened, scheme):
    opened.media(scheme=scheme)
    opened.click(".toggle")
    opened.evaluate(
        "for (let i = 0; i < 8; i++) document.body.append(element('span', {class: `mark m${i}`}, 'A'), "
        "element('span', {class: 'warning'}, '1 note'))"
    )
    seen = ".lead|.quiet|.why .label|.chip.wrong|.chip.right|.link|.warning|summary|th button|#bands small"
    seen = [*seen.split("|"), "figcaption small", *(f".mark.m{i}" for i in range(8))]
    low = {name: ratio for name in seen if (ratio := opened.evaluate(f"({LUMINANCE})({json.dumps(name)})")) < 4.5}
    assert low == {}
    back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) < 200) == (scheme == "dark")


def test_paper_shows_the_rows_and_no_controls(opened):
    opened.media("print", "dark")
    for hidden in ("#filters", "#pager", ".skip", "figure details"):
        assert opened.evaluate(f"getComputedStyle(document.querySelector('{hidden}')).display") == "none"
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.pdf().startswith(b"%PDF")


def test_the_detector_of_scripts_detects_one(tab, tmp_path):
    page = tmp_path / "unsafe.html"
    page.write_text("<!doctype html><body>" + "".join(text for text in TEXTS if "<img" in text))
    tab.open(page)
    tab.wait("window.ran > 0")


def test_a_report_with_every_injection_stays_inert_while_it_is_used(tab, tmp_path):
    page = tmp_path / "hostile.html"
    rows = hostile_rows()
    write_report(rows, page, title=TEXTS[1])
    tab.resize(1200, 800)
    tab.media()
    tab.events.clear()
    tab.open(page)
    tab.wait(READY)
    elements = "document.querySelectorAll('script, img, iframe, a, link, meta, base, object, embed, form').length"
    before = tab.evaluate(elements)
    for i in range(len(rows)):
        tab.click(f'.toggle[data-row="{i}"]')
        tab.evaluate(f"document.querySelectorAll('#detail-{i} summary').forEach((node) => node.click())")
    for number in range(len(texts(tab, "#heads th"))):
        tab.click(f"#heads th:nth-child({number + 1}) button")
    tab.press("/")
    tab.type(f"<img src=x onerror={RUN}>")
    tab.wait(f"{COUNT}.startsWith('No question')")
    tab.click("#filters [type=reset]")
    for name in ("source", "band", "label"):
        tab.evaluate(
            f"[...document.querySelectorAll('[name={name}] option')].forEach((option) => {{ "
            "const list = option.parentElement; list.value = option.value; list.dispatchEvent(new Event('change')); })"
        )
    tab.click("#filters [type=reset]")
    tab.evaluate(
        "document.querySelectorAll('td div, li, p').forEach((node) => node.dispatchEvent(new Event('mouseover')))"
    )
    assert tab.evaluate("window.ran") is None
    assert tab.evaluate(elements) == before
    assert tab.evaluate("location.href") == page.as_uri()
    assert tab.requests == [page.as_uri()]
    assert [event for event in tab.events if event["method"] in PROBLEMS] == []
    shown = set(texts(tab, "td.c-question div"))
    assert {text for text in TEXTS if text.isprintable()} <= shown  # each is shown as it is


def test_the_policy_of_the_page_stops_what_a_mistake_of_its_script_would_let_in(tab, page):
    tab.open(page)
    tab.wait(READY)
    for mistake in (f"document.body.innerHTML = '<img src=x onerror={RUN}>'", f"setTimeout('{RUN}')", f"eval('{RUN}')"):
        tab.evaluate(f"(() => {{ try {{ {mistake} }} catch (error) {{ }} }})()")
    tab.evaluate(
        f"(() => {{ const added = document.createElement('script'); try {{ added.text = '{RUN}'; }} catch (error) {{ "
        f"added.append('{RUN}'); }} document.body.append(added); }})()"
    )
    tab.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert tab.evaluate("window.ran") is None
    with pytest.raises(AssertionError):  # and no request leaves it
        tab.evaluate("fetch('http://127.0.0.1:9/')")
