"""The whole page: self-contained, deterministic, escaped, and whole or absent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_jax.errors import WorkdirError
from nas_jax.report import summary_text, write_report
from nas_jax.spaces import darts_space

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects a page's tags, attributes and text, and checks that it nests."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [
            value
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name == attribute and value is not None
        ]


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    copy = shutil.copytree(finished, tmp_path_factory.mktemp("page") / "run")
    return Page(write_report(copy))


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base"}
    attributes = {name for _, found in page.tags for name in found}
    assert not attributes & {"src", "srcset", "action", "data", "xlink:href", "poster"}
    assert not any(name.startswith("on") for name in attributes)
    targets = page.values("href") + re.findall(r"url\(([^)]*)\)", page.source)
    assert len(targets) > 10
    assert all(target.startswith("#") for target in targets)
    assert "@import" not in page.source
    assert "://" not in page.source


def test_local_references_resolve_and_ids_are_unique(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = page.values("href") + re.findall(r"url\(([^)]*)\)", page.source)
    assert {target[1:] for target in targets} <= set(ids)


def test_headline_figures(page: Page) -> None:
    facts = page.source[page.source.index('<dl class="facts">') :]
    facts = re.sub(r"<[^>]+>", " ", facts[: facts.index("</dl>")])
    for shown in (
        "98.1%",
        "1,797 images",
        "353 of 360 images",
        "95% interval 96.0 to 99.1%",
        "238,474",
        "112 of 224",
        "5,005 → 772 MiB",
        "−85%",
        "36 min 2 s",
    ):
        assert shown in facts


def test_every_section_is_filled(page: Page) -> None:
    headings = re.findall(r'<section id="(\w+)">', page.source)
    assert " ".join(headings) == "pruning cells alphas curves memory time reproduce"
    assert 'class="missing"' not in page.source
    assert page.source.count('<svg class="panel"') == 28
    assert page.source.count('class="chart"') == 4
    assert "in 3 repeats" in page.text
    assert "Not scored: none (never selected at discretisation)." in page.text


def test_figures_have_names_for_those_who_do_not_see_them(page: Page) -> None:
    pictures = [found for tag, found in page.tags if tag == "svg"]
    assert len(pictures) > 36
    assert all(found.get("role") == "img" for found in pictures)
    names = [found.get("aria-label") or "" for found in pictures]
    assert all(names)
    assert any("of the normal cell" in name and "at the end" in name for name in names)
    tables = [found.get("class") for tag, found in page.tags if tag == "table"]
    assert tables.count("heat") == page.source.count("<caption>") == 2
    headers = {found.get("scope") for tag, found in page.tags if tag == "th"}
    assert headers == {"col", "row"}


def test_page_says_how_far_the_alphas_moved(workdir: Path) -> None:
    path = workdir / "search.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows[1:]:
        row["alphas"] = json.loads(json.dumps(rows[0]["alphas"]))
    edge = rows[-1]["alphas"]["reduce"][3]
    edge[edge.index(max(edge))] -= 0.004
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    source = write_report(workdir).read_text(encoding="utf-8")
    assert "none moved by more than 0.4 percentage points" in source


def test_same_artefacts_give_the_same_bytes(workdir: Path, tmp_path: Path) -> None:
    names = {path.name for path in workdir.iterdir()}
    elsewhere = shutil.copytree(workdir, tmp_path / "elsewhere")
    path = write_report(workdir)
    assert {p.name for p in workdir.iterdir()} == names | {"report.html"}
    assert path.stat().st_size < 500_000
    assert write_report(elsewhere).read_bytes() == path.read_bytes()


def test_long_logs_do_not_make_a_large_page(fake: ModuleType, tmp_path: Path) -> None:
    workdir = fake.fill(tmp_path, steps=600, epochs=300)
    path = write_report(workdir)
    assert path.stat().st_size < 700_000
    assert "mean of neighbouring rows" in path.read_text(encoding="utf-8")


MISSING = (
    ("prune.json", "prune", "pruning"),
    ("search.jsonl", "search", "alphas"),
    ("genotype.json", "search", "cells"),
    ("retrain.jsonl", "retrain", "curves"),
    ("memory.json", "run", "memory"),
    ("summary.json", "run", "time"),
    ("environment.json", "run", "reproduce"),
    ("config.json", "run", "reproduce"),
)


def test_missing_artefacts_name_the_command_that_makes_them(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path))
    assert "svg" not in {tag for tag, _ in page.tags}
    for file, command, section in MISSING:
        part = page.source[page.source.index(f'<section id="{section}">') :]
        sentence = f"no <code>{file}</code> in this directory; <code>nas-jax {command}<"
        assert sentence in part[: part.index("</section>")]


def test_cells_of_a_registered_space_need_no_prune_json(workdir: Path) -> None:
    (workdir / "prune.json").unlink()
    source = write_report(workdir).read_text(encoding="utf-8")
    assert source.count('class="missing"') == 1
    assert source.count('class="cell wide"') == 2
    assert source.count('<svg class="panel"') == 28


def rename_everything(workdir: Path, old: str, new: str) -> None:
    """Renames an operation (or any string) in every artefact."""
    for path in workdir.iterdir():
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text(encoding="utf-8")
            text = text.replace(old, json.dumps(new)[1:-1])
            path.write_text(text, encoding="utf-8")


HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src='x' onerror='alert(1)'>",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{1}{0}$ & co",
    "url(//evil)",
    "\ud800",
)
NAMED = ("sep_conv_3x3", "nwot", "digits_darts", "dil_conv_5x5", "float32", "x86_64")


@pytest.mark.parametrize("turn", [0, 1, 3])
def test_hostile_strings_are_only_text(workdir: Path, turn: int) -> None:
    for old, hostile in zip(NAMED, HOSTILE[turn:] + HOSTILE[:turn], strict=True):
        rename_everything(workdir, old, hostile)
    page = Page(write_report(workdir))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    attributes = {name for _, found in page.tags for name in found}
    assert "src" not in attributes
    assert not any(name.startswith("on") for name in attributes)
    for hostile in HOSTILE:
        assert hostile.encode("utf-8", "replace").decode() in page.text
    assert "evil" not in "".join(page.values("style"))


def test_malformed_artefact_leaves_the_old_page_alone(workdir: Path) -> None:
    before = write_report(workdir).read_bytes()
    (workdir / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(WorkdirError, match=r"summary\.json, line 1"):
        write_report(workdir)
    assert (workdir / "report.html").read_bytes() == before
    assert not list(workdir.glob(".report*"))


def test_nan_and_null_values_become_gaps(workdir: Path) -> None:
    lines = (workdir / "search.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows[5]["train_loss"] = float("nan")
    rows[6]["valid_loss"] = None
    rows[7]["alphas"]["normal"][0] = [float("nan")] * 8
    rows[-1]["alphas"]["normal"][1] = [None] * 8
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (workdir / "search.jsonl").write_text(text, encoding="utf-8")
    prune = json.loads((workdir / "prune.json").read_text(encoding="utf-8"))
    prune["operations"][5]["score"] = float("nan")
    prune["operations"][6]["scores"]["nwot"] = None
    (workdir / "prune.json").write_text(json.dumps(prune), encoding="utf-8")
    page = Page(write_report(workdir))
    drawn = page.values("d") + page.values("style") + page.values("points")
    assert not [value for value in drawn if "nan" in value.lower()]
    unscored = re.findall(r'<td class="\w+ unscored"', page.source)
    assert len(unscored) == 2 * 14 + 1


def test_another_space_needs_no_change_here(fake: ModuleType, tmp_path: Path) -> None:
    space = darts_space(2, ("none", "skip_connect", "box_filter"))
    workdir = fake.fill(tmp_path, space=space, steps=6, epochs=2)
    source = write_report(workdir).read_text(encoding="utf-8")
    assert len(re.findall(r'<td class="(?:kept|dropped) ', source)) == 2 * 5 * 3
    assert source.count('<svg class="panel"') == 2 * 5
    assert source.count('class="cell wide"') == 2
    assert "box filter" in source
    # Without prune.json, which spells out its cells, the space must be given.
    (workdir / "prune.json").unlink()
    unknown = write_report(workdir).read_text(encoding="utf-8")
    assert 'class="cell wide"' not in unknown
    assert "are not known here" in unknown
    known = write_report(workdir, space).read_text(encoding="utf-8")
    assert known.count('class="cell wide"') == 2


def test_alphas_that_do_not_fit_the_space_are_refused(
    fake: ModuleType, workdir: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    space = darts_space(2, ("none", "skip_connect", "box_filter"))
    fake.fill(other, space=space, steps=2, epochs=1)
    shutil.copy(other / "search.jsonl", workdir / "search.jsonl")
    with pytest.raises(WorkdirError, match="5 edges by .3. operations"):
        write_report(workdir)


def change_environment(workdir: Path, **changed: object) -> None:
    path = workdir / "environment.json"
    value = json.loads(path.read_text("utf-8")) | changed
    path.write_text(json.dumps(value), "utf-8")


OWN = {
    "source": "npz",
    "path": "/data/my_images.npz",
    "name": "",
    "num_train": 1437,
    "num_test": 360,
    "num_classes": 10,
    "image_shape": [8, 8, 1],
}


@pytest.mark.parametrize(
    ("data", "heading", "note"),
    [
        (
            OWN,
            "digits_darts: my_images.npz",
            "npz my_images.npz; 1,437 for training, 360 to test; 10 classes; 8 x 8 x 1",
        ),
        (
            OWN | {"source": "folder", "path": "photos/cats & dogs/"},
            "digits_darts: cats & dogs",
            "folder cats & dogs; 1,437 for training",
        ),
        (
            OWN | {"source": "tfds", "path": "/tfds", "name": "cifar10_corrupted/fog"},
            "digits_darts: cifar10_corrupted/fog",
            "tfds cifar10_corrupted/fog; 1,437 for training",
        ),
        (OWN | {"source": "digits"}, "digits_darts", "digits; 1,437 for training"),
        ({"source": "npz", "path": "a.npz"}, "digits_darts: a.npz", "npz a.npz"),
    ],
)
def test_heading_and_headline_say_which_images(
    workdir: Path, data: dict[str, object], heading: str, note: str
) -> None:
    change_environment(workdir, data=data)
    text = summary_text(workdir)
    assert text.splitlines()[0] == heading
    assert note in " ".join(text.split())


def test_heading_of_the_page(workdir: Path) -> None:
    change_environment(workdir, data=OWN | {"path": "cats & dogs.npz"})
    source = write_report(workdir).read_text(encoding="utf-8")
    assert "<h1>digits_darts: cats &amp; dogs.npz</h1>" in source
    assert "<title>digits_darts: cats &amp; dogs.npz – " in source
    assert "npz cats &amp; dogs.npz; 1,437 for training" in source


def test_old_folder_says_nothing_of_its_images(workdir: Path) -> None:
    change_environment(workdir, data=None)
    text = summary_text(workdir)
    assert text.startswith("digits_darts\n") and "  data " not in text


def reproduced(workdir: Path) -> str:
    source = write_report(workdir).read_text(encoding="utf-8")
    part = source[source.index('<section id="reproduce">') :]
    line = re.findall(r"<pre class=\"wrap\">(.*?)</pre>", part)[0]
    return unescape(re.sub("<[^>]+>", "", line))


def test_command_can_be_pasted(workdir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's my $HOME & co"
    folder.mkdir()
    command = ["nas-jax", "run", "--config.name=a 'b'", "--workdir=w"]
    change_environment(workdir, working_directory=str(folder), command=command)
    line = reproduced(workdir).replace("nas-jax", f"{sys.executable} -c {SHOW}")
    shown = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(shown.stdout) == [str(folder), *command[1:]]


SHOW = "'import json, os, sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))'"


def test_resumed_run_says_so_and_a_command_needs_no_folder(workdir: Path) -> None:
    earlier = [{"date": "then"}, {"date": "before"}]
    change_environment(workdir, working_directory=None, earlier=earlier)
    assert reproduced(workdir) == "nas-jax run --config=configs/digits.py"
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert "The run was resumed 2 times" in page


def test_one_logged_row_is_drawn(workdir: Path) -> None:
    for name in ("search.jsonl", "retrain.jsonl"):
        row = json.loads((workdir / name).read_text("utf-8").splitlines()[0])
        row["epoch"] = 0.0625
        (workdir / name).write_text(json.dumps(row) + "\n", "utf-8")
    source = write_report(workdir).read_text(encoding="utf-8")
    assert "at step 10, the only one logged" in source
    panels = re.findall(r'(?s)<svg class="panel".*?</svg>', source)
    assert len(panels) == 28
    # A dot for each of the four operations that an edge kept.
    assert all(panel.count("<use ") == 4 for panel in panels)
    charts = re.findall(r'(?s)<svg class="chart".*?</svg>', source)
    assert len(charts) == 4
    for chart in charts:
        labels = re.findall(r"<text[^>]*>([^<]*)</text>", chart)
        assert len(labels) == len(set(labels)) > 3
        assert labels.count("0.0625") == 1


TEXT = "3 of 16 genes won by more than chance gives."
WARNING = f"The genotype is little more than a draw. {TEXT} Raise --a.b=c & <better>."


@pytest.fixture
def say(workdir: Path) -> Any:
    """Writes a decision; returns the page's text and the summary on one line."""

    def write(**decision: Any) -> tuple[str, str]:
        path = workdir / "genotype.json"
        genotype = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**genotype, "decision": decision}), "utf-8")
        text = Page(write_report(workdir)).text
        return text, " ".join(summary_text(workdir).split())

    return write


def test_a_warning_of_chance_stands_out_in_both(say: Any) -> None:
    text, summary = say(decided=3, genes=16, text=TEXT, warning=WARNING)
    assert f"To read before these cells are trusted{WARNING}" in text
    assert "3 of 16" in text
    assert "genes decided 3 of 16 (mostly chance, see Cells found)" in summary
    assert f"warning {WARNING}" in summary


def test_without_a_warning_the_figures_are_there(say: Any) -> None:
    text, summary = say(decided=14, genes=16, text=TEXT, warning="")
    assert TEXT in text and "to read before" not in text.lower()
    assert "genes decided 14 of 16 (more than chance)" in summary
    assert "warning" not in summary
    text, summary = say(decided=0, genes=0, text="Nothing to decide.", warning="")
    assert "Nothing to decide." in text
    assert "genes decided" not in summary


def test_a_malformed_decision_is_named(say: Any) -> None:
    with pytest.raises(WorkdirError, match="genotype.json.*decision.decided"):
        say(decided="many", genes=16, text=TEXT, warning="")
