"""The charts' descriptions, as far as they can be checked without drawing."""

from __future__ import annotations

import json
import re

import pytest

from avalanche_ham.reporting.report_page.charts import CONTROLS, SELECTS, charts, data_names
from avalanche_ham.reporting.report_page.datasets import datasets

CHARTS = charts()


@pytest.fixture
def drawn(rows_of):
    return datasets(rows_of(({}, {}), ({"seed": 2}, {})))


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_draws_data_that_there_are(name, drawn):
    assert data_names(CHARTS[name]) and set(data_names(CHARTS[name])) <= set(drawn)


def test_every_choice_of_number_is_an_entry_of_its_data(drawn):
    assert set(SELECTS["metric"]) <= set(drawn["rows"][0]) & set(drawn["seeds"][0])
    assert {f"{m}_{end}" for m in SELECTS["metric"] for end in ("low", "high", "words")} <= set(
        drawn["rows"][0]
    )
    assert set(SELECTS["cost"]) <= set(drawn["rows"][0])
    assert set(SELECTS["curve"]) <= set(drawn["curves"][0])


def test_every_control_does_something():
    text = json.dumps(CHARTS)
    assert all(re.search(rf"(?<![\w.'])({control})(?![\w'])", text) for control in CONTROLS)


def test_colours_follow_the_theme():
    assert not re.search(r'"#[0-9a-fA-F]{3,6}"', json.dumps(CHARTS))
