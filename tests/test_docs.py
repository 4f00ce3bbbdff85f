"""The pages below docs/: what they print runs; the built site holds together."""

from __future__ import annotations

import html.parser
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from avalanche_ham.benchmarks import BENCHMARKS
from avalanche_ham.cli.main import main as ham
from avalanche_ham.heads import HEADS
from avalanche_ham.merging import RULES
from avalanche_ham.runs.options import options_of
from avalanche_ham.runs.presets import PRESETS
from avalanche_ham.strategies.registry import METHODS

DOCS = Path(__file__).parents[1] / "docs"
SITE = DOCS / "site" / "html"


def ran(place, folder, monkeypatch) -> dict:
    """Execute one of the page's blocks of Python; gives its names."""
    text = (DOCS / "avalanche.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[place]
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(block, "docs/avalanche.md", "exec"), names)
    return names


def test_a_readout_of_an_avalanche_strategy_is_fed_and_follows(monkeypatch, tmp_path):
    names = ran(1, tmp_path, monkeypatch)
    (plugin,) = (p for p in names["naive"].plugins if type(p).__name__ == "ReadoutPlugin")
    assert plugin.drift_seconds > 0  # in the second experience
    assert int((names["model"].readouts["lda_drift"].counts > 0).sum()) == 4


def test_a_checkpoint_goes_on_as_the_page_says(monkeypatch, tmp_path):
    names = ran(0, tmp_path, monkeypatch)
    names["strategy"].train(names["second"])
    here, there = (names[s].model.state_dict() for s in ("strategy", "again"))
    assert here.keys() == there.keys()
    assert all(torch.equal(here[key], there[key]) for key in here)


@pytest.fixture
def birds(monkeypatch, tmp_path):
    """Digits in the place of birds: four classes in folders, as the first page draws them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    digits = load_digits()
    for label, name in enumerate(("robin", "wren", "heron", "stork")):
        for k, picture in enumerate(digits.images[digits.target == label][:16]):
            folder = tmp_path / "DATA" / "birds" / ("test" if k < 6 else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture * 15.9).astype("uint8")).save(folder / f"{k}.png")


def test_getting_started_runs_as_printed(birds, capsys):
    """As printed, but with the tiny random backbone and three steps."""
    text = (DOCS / "start.md").read_text()
    commands = re.findall(r"^\$ ham (.*)$", text, flags=re.MULTILINE)
    quick = {"run": ["--preset", "smoke"], "table": ["--preset", "smoke"]}
    for line in commands:
        words = shlex.split(line)
        assert ham([*words, *quick.get(words[0], [])]) == 0, line
    assert Path("LORA/adapter_model.safetensors").exists() or list(Path("LORA").rglob("adapter_*"))
    rows = re.findall(r"^\| (HAM|one LoRA) \|(.*)", capsys.readouterr().out, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["HAM", "one LoRA"]
    assert all(re.search(r"\d\.\d", cells) for _, cells in rows)
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    block = block.replace('"embedded"', '"tiny"').replace("steps=20", "steps=3")
    exec(compile(block, "docs/start.md", "exec"), {})
    assert re.search(r"it is a \w+ and looks like a \w+", capsys.readouterr().out)


@pytest.fixture(scope="module")
def made():
    """The pages that the build writes from the package."""
    sys.path.insert(0, str(DOCS))
    try:
        from pages import commands, methods, tables

        return {**methods.pages(), **tables.pages(), **commands.pages()}
    finally:
        sys.path.remove(str(DOCS))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_page_with_paper_options_and_place(made, method):
    text = made[f"methods/{method}.md"]
    options = options_of(method)
    shown = set(re.findall(r"^\| `--([\w-]+)`", text, flags=re.MULTILINE))
    shared = set(re.findall(r"^\| `--([\w-]+)`", made["tables/shared_options.txt"], re.MULTILINE))
    assert {name.replace("_", "-") for name in options} <= shown | shared
    assert shown <= {name.replace("_", "-") for name in options}
    assert f"class {{py:class}}`~{METHODS[method].path}`" in text
    assert METHODS[method].source in text and "## On record" in text
    for path in re.findall(r"{include} \.\./\.\./(\S+)", text):
        assert (DOCS / path).read_text().startswith("## Paper and equation\n")


def test_every_equation_is_on_some_page(made):
    used = set(re.findall(r"{include} \.\./\.\./equations/(\S+)", "".join(made.values())))
    assert used == {path.name for path in (DOCS / "equations").iterdir()}


def test_the_place_on_record_is_what_the_table_says(made):
    """The committed table of CIFAR-100 at 50 tasks: HAM under the trained head."""
    table = (DOCS.parent / "experiments/results/tables/methods_at_50_tasks.md").read_text()
    cells = re.search(r"^\| HAM \| \**([\d.]+)\** ± ([\d.]+)", table, flags=re.MULTILINE)
    page = made["methods/ham.md"]
    row = re.search(r"^\| CIFAR-100 \| 50 \| `linear` \| `study` \|(.*)", page, flags=re.MULTILINE)
    assert f" {cells[1]} ± {cells[2]} | 71.78 " in row[1]
    assert re.search(r"\| \d+ of \d+", row[1])


@pytest.mark.parametrize(
    "name, rows",
    [("heads", HEADS), ("merge_rules", RULES), ("benchmarks", BENCHMARKS)],
)
def test_every_row_of_a_registry_stands_in_its_table(made, name, rows):
    shown = re.findall(r"^\| `(\w+)`", made[f"tables/{name}.txt"], flags=re.MULTILINE)
    assert shown == list(rows)


def test_presets_and_commands_are_all_there(made):
    assert all(f"`{name}`" in made["tables/presets.txt"] for name in PRESETS)
    for command in ("demo", "run", "table", "list", "export"):
        assert f"## ham {command}\n\n```text\nusage: ham {command}" in made["commands.md"]


def test_links_of_copied_pages_lead_to_pages_or_are_plain_names(tmp_path):
    sys.path.insert(0, str(DOCS))
    try:
        from pages.copies import linked
    finally:
        sys.path.remove(str(DOCS))
    text = (
        "[a](docs/avalanche.md#plugins) [b](experiments/README.md) [c](setup.cfg) ![d](x/y.png)\n"
        "[`setup.cfg`](setup.cfg) [e](https://a.b/c) [f](#here) [g](notebooks/01_n.ipynb)\n"
        "```\n[h](setup.cfg)\n```\n"
    )
    mended, pictures = linked(text, tmp_path / "README.md", tmp_path)
    assert mended == (
        "[a](../avalanche.md#plugins) [b](results.md) c (`setup.cfg`) ![d](pictures/y.png)\n"
        "`setup.cfg` [e](https://a.b/c) [f](#here) [g](notebooks/01_n.ipynb)\n"
        "```\n[h](setup.cfg)\n```\n"
    )
    assert pictures == [tmp_path / "x/y.png"]


class Page(html.parser.HTMLParser):
    """What a page of the built site names and what it points to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names, self.links, self.loaded, self.kinds = set(), [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names |= {found.get("id"), found.get("name")}
        self.kinds |= {tag, *(found.get("class") or "").split()}
        if tag == "a":
            self.links.append(found.get("href") or "")
        if tag in ("script", "link", "img"):
            self.loaded.append(found.get("src") or found.get("href") or "")


@pytest.fixture(scope="module")
def site():
    assert SITE.is_dir(), "python -m sphinx docs docs/site/html comes first, see .ci/docs"
    return {path: Page(path) for path in SITE.rglob("*.html")}


@pytest.mark.docs
def test_every_link_within_the_site_leads_somewhere(site):
    broken = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name in ("search.html", "genindex.html"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target in site and (not parts.fragment or parts.fragment in site[target].names)
            if not there and not (target.exists() and target not in site):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert not broken


@pytest.mark.docs
def test_nothing_is_loaded_from_elsewhere_and_formulas_are_drawn_by_the_browser(site):
    elsewhere = {src for page in site.values() for src in page.loaded if urlsplit(src).netloc}
    assert not elsewhere
    assert "math" in site[SITE / "ham.html"].kinds
    assert (SITE / "_static" / "STIXTwoMath-Regular.ttf").exists()


@pytest.mark.docs
def test_every_method_and_notebook_is_in_the_site(site):
    for method in METHODS:
        assert SITE / "generated" / "methods" / f"{method}.html" in site
    for notebook in (DOCS.parent / "notebooks").glob("*.ipynb"):
        page = site[SITE / "generated" / "notebooks" / f"{notebook.stem}.html"]
        assert {"cell_output", "img"} <= page.kinds
