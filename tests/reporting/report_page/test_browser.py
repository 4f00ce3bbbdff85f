"""``ham report`` in a real Chromium: a thousand records, controls, themes, phone, keyboard.

Needs Debian's ``chromium`` and ``chromium-driver`` and the packages of the extra ``test``.
"""

from __future__ import annotations

import csv
import json

import headless
import numpy as np
import pytest
from headless import chromium, contrast, in_theme, open_page, wait
from made_up_records import made_up

from avalanche_ham.reporting.report_page import report_page
from avalanche_ham.runs.config import RunConfig

pytest.importorskip("selenium")
pytest.importorskip("vl_convert")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (headless.BROWSER and headless.DRIVER), reason="no chromium"),
]

METHODS = ("ham", "lora", "frozen", "finetune", "ewc", "linear", "ties", "sd_lora", "sema", "l2p")
CHARTS = ("methods", "matrix", "curves", "costs", "lengths", "cosines", "alphas")
COMMIT = "0123456789ab"


def thousand():
    """Make up 1,000 records: 10 methods, 5 lengths, 2 heads and options, 5 seeds."""
    draw = np.random.default_rng(0)
    for n in (3, 5, 10, 20, 50):
        for i, method in enumerate(METHODS):
            for head in ("linear", "ridge"):
                for rate in (0.0005, 0.001):
                    for seed in range(1, 6):
                        yield _record(method, n, head, rate, seed, draw, 40 + 3 * i)


def _record(method, n, head, rate, seed, draw, aa):
    config = RunConfig(
        method=method, n_tasks=n, head=head, seed=seed, benchmark="cifar100", preset="cpu",
        options={"lr": rate},
    )  # fmt: skip
    matrix = draw.random((n, n)).round(4)
    rows = [[*row[: t + 1], *[None] * (n - t - 1)] for t, row in enumerate(matrix.tolist())]
    return made_up(config, accuracy_matrix=rows, aa=aa + draw.random(), commit=COMMIT, clean=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    lines = [json.dumps(record) for record in thousand()]
    assert len(lines) == 1000
    (folder / "records.jsonl").write_text("\n".join(lines))
    (folder / "report.html").write_text(report_page(folder), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(page):
    with chromium() as driver:
        metrics = open_page(driver, page)
        yield driver, metrics


@pytest.fixture
def driver(opened, page):
    open_page(opened[0], page)
    return opened[0]


def pick(driver, control, value):
    """Choose a value as a user does."""
    script = "const c = document.getElementById(arguments[0]); c.value = arguments[1];"
    script += "c.dispatchEvent(new Event('input', {bubbles: true}))"
    driver.execute_script(script, control, value)


def marks(chart, role):
    """Write the query of a chart's marks of a kind."""
    return f"#{chart} g.mark-{role}.role-mark > path"


def shown(driver):
    rows = "[...document.querySelectorAll('#numbers tbody tr')].filter(r => !r.hidden)"
    return driver.execute_script(f"return {rows}.map(r => r.dataset.label)")


def test_a_thousand_records_open_within_two_seconds(opened):
    _, metrics = opened
    assert metrics["ThreadTime"] < 2  # CPU seconds, whatever else the machine does


def test_every_chart_is_drawn_and_nothing_goes_wrong(driver):
    for chart in CHARTS:
        assert driver.execute_script(f"return document.querySelectorAll('#{chart} path').length")
    said = [line["message"] for line in driver.get_log("browser")]
    assert [line for line in said if 'Dropping \\"fit-y\\"' not in line] == []  # as it is meant
    loaded = driver.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0


def test_another_data_set_changes_charts_and_table(driver):
    count = f"return document.querySelectorAll('{marks('matrix', 'rect')}').length"
    sites = "return [...document.getElementById('site').options].map(o => [o.text, o.value])"
    sites = dict(driver.execute_script(sites))
    for title, key in sites.items():
        n = int(title.split(" tasks")[0].split()[-1])
        if n in (5, 50):
            pick(driver, "site", key)
            wait(driver, f"{count} === {n * (n + 1) // 2}")
            assert len(shown(driver)) == 20
    driver.find_element("id", "everywhere").click()
    assert len(shown(driver)) == 200


def test_a_search_filters_charts_and_table(driver):
    driver.find_element("id", "search").send_keys("LoRA")
    count = f"return document.querySelectorAll('{marks('methods', 'symbol')}').length"
    wait(driver, f"{count} === 4")
    assert sorted(set(shown(driver))) == ["one lora", "one lora, lr 0.001", "sd-lora",
                                          "sd-lora, lr 0.001"]  # fmt: skip


def test_a_heading_sorts_by_number_and_says_so(driver):
    from selenium.webdriver.common.keys import Keys

    heading = driver.find_element("xpath", "//th[.='AA, %']")
    values = "return [...document.querySelectorAll('#numbers tbody tr')].filter(r => !r.hidden)"
    values += ".map(r => Number(r.cells[1].dataset.value))"
    orders = {}
    for _ in range(2):
        heading.find_element("tag name", "button").send_keys(Keys.ENTER)
        orders[heading.get_attribute("aria-sort")] = driver.execute_script(values)
    assert orders["ascending"] == sorted(orders["ascending"]) != orders["descending"]
    assert orders["descending"] == orders["ascending"][::-1]


def test_a_method_is_chosen_by_keyboard_and_by_click(driver):
    from selenium.webdriver.common.keys import Keys

    chosen = "return document.getElementById('chosen').selectedOptions[0].text"
    assert driver.execute_script(chosen) == "HAM"
    assert driver.find_element("id", "grouped").is_displayed()
    driver.find_element("xpath", "//th/button[.='SEMA']").send_keys(Keys.ENTER)
    assert driver.execute_script(chosen) == "SEMA"
    other = driver.find_element("css selector", marks("methods", "symbol"))
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", other)
    other.click()
    assert driver.execute_script(chosen) not in ("HAM", "SEMA")


def test_hovering_over_a_run_says_where_it_comes_from(driver):
    from selenium.webdriver import ActionChains

    tick = driver.find_elements("css selector", marks("methods", "rect"))[0]
    ActionChains(driver).move_to_element(tick).perform()
    tip = "return document.querySelector('#vg-tooltip-element.visible')?.textContent"
    assert COMMIT in wait(driver, tip)


def test_the_download_is_a_csv_of_all_runs(driver, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    place = {"behavior": "allow", "downloadPath": str(tmp_path)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    driver.find_element("link text", "Download all runs as CSV").click()
    saved = tmp_path / "records.csv"
    WebDriverWait(driver, headless.SECONDS).until(lambda _: saved.exists())
    with open(saved, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1000 and {row["commit"] for row in rows} == {COMMIT}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_marks_stand_out_in_light_and_dark(theme, driver):
    in_theme(driver, theme)
    colour = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    card = driver.execute_script(colour, "figure", "backgroundColor")
    words = {
        "#methods .role-axis-label text": "fill",
        "figcaption": "color",
        "tbody th button": "color",
        marks("methods", "symbol"): "fill",
    }
    for place, kind in words.items():
        assert contrast(driver.execute_script(colour, place, kind), card) >= 4.5, place
    assert (contrast(card, "rgb(0, 0, 0)") > 10) == (theme == "light")


def test_a_phone_shows_everything_without_scrolling_sideways(page):
    with chromium(width=375, height=800, touch=True) as driver:
        open_page(driver, page)
        size = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert size == [375, 375]
        for chart in CHARTS:
            svg = driver.find_element("css selector", f"#{chart} svg")
            assert 200 < svg.size["width"] <= 375


def test_a_screen_reader_finds_a_name_for_whatever_it_can_use(driver):
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    used = {"combobox", "button", "checkbox", "searchbox", "link", "region", "graphics-document"}
    nameless = [role for role, name in found if role in used and not name.strip()]
    assert nameless == []
    assert used <= {role for role, _ in found}
    names = [name for role, name in found if role in ("graphics-symbol", "graphics-object")]
    assert any("task 3 after task 3: " in name for name in names)
