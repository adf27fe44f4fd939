"""The page as a browser shows it: Debian's chromium without a window, driven by playwright."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from entries import entry
from lmc_lab.reporting.answer import answers
from lmc_lab.reporting.page import Page, write_page
from lmc_lab.reporting.shown_examples import examples_section
from lmc_lab.results.folder import Result
from lmc_lab.results.row_file import SCHEMA

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
TRUNKS, SPLITS = (0, 1), (0, 50, 800)


def lines():
    """Yields rows for every figure of the page, of two trunks."""
    for trunk in TRUNKS:
        yield {"trunk": trunk, "quantity": "onset_p_conv", "subset": "train", "value": 800, "low": 50, "high": 800}
        for step in (0, 400, 2000):
            place = {"trunk": trunk, "step": step}
            for quantity in ("lambda_max", "hessian_ratio", "p_gap_negative", "p_gap_resolved", "train_loss"):
                yield place | {"quantity": quantity, "value": 0.5 + trunk}
            yield place | {"quantity": "is_converged", "value": step > 0}
        for number, k in enumerate(SPLITS):
            place = {"trunk": trunk, "split_step": k, "subset": "train", "num_samples": 50, "num_endpoints": 5}
            for quantity in ("p_conv", "p_rand", "p_jensen_negative", "endpoint_accuracy", "instability_loss"):
                yield place | {"quantity": quantity, "value": number / 2, "low": 0.0, "high": 1.0}
            yield place | {"quantity": "hull_radius", "subset": None, "value": 3.0 + number}
            yield place | {"quantity": "plane_share", "subset": None, "value": 0.6}
            for index in range(9):
                at = place | {"index": index}
                yield at | {"quantity": "shared_correct", "value": 1 / (index + 1)}
                yield at | {"quantity": "singular_value_raw", "value": 1 / (index + 1)}
                yield at | {"quantity": "singular_value_centred", "value": 1 / (index + 1)}
                for kind, x, y in (("grid", index % 3, index // 3), ("hull_point", index / 9, index**2 / 81)):
                    for name, value in (("x", x), ("y", y), ("loss", 1.0 + index)):
                        yield at | {"quantity": f"plane_{kind}_{name}", "value": value}
            for branch, (x, y) in enumerate(((0, 0), (2, 0), (1, 2))):
                for name, value in (("x", x), ("y", y), ("loss", 2.0)):
                    yield place | {"quantity": f"plane_endpoint_{name}", "branch": branch, "value": value}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rows = pd.DataFrame([{"task": "lenet"} | line for line in lines()]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    records = folder / "predictions.safetensors"
    shown = {"": np.zeros((4, 8, 8, 3), np.uint8), "_index": np.arange(4), "_target": np.arange(4)}
    shown["_num_right"] = np.array([5, 5, 3, 0])
    save_file({f"test_examples{name}": value for name, value in shown.items()}, records)
    of_examples = Result(rows[rows["quantity"] == "shared_correct"], entry(analysis="predictions"), records)
    return write_page(
        Page(
            title="lenet",
            rows=rows,
            rows_over_time=rows.assign(step=rows["step"].fillna(2000)),
            answers=answers(rows, {"lenet": 2000}),
            notes=["A note that is a sentence."],
            examples=examples_section([of_examples]),
            tables={"Modes": pd.DataFrame({"k": [0, 800, 50], "p_conv": ["0.02 [0.00, 0.10]", "1.00", "0.50"]})},
            commands=["python -m lmc_lab.study study=lenet"],
        ),
        folder,
    )


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, page):
    """Returns what opens the page without a network, and sees that nothing goes wrong there."""
    errors, tabs = [], []

    def open_page(width=1280, scheme="light"):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tabs.append(tab)
        tab.context.set_offline(True)
        tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else errors.append(request.url),
        )
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-drawn=true]", timeout=120_000)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert not errors


def test_every_figure_is_drawn_and_nothing_is_asked_of_a_network(opened):
    tab = opened()
    figures = tab.locator("section.figure")
    assert figures.count() == 9
    for figure in figures.all():
        shown = figure.locator(".panel:not([hidden])")
        assert shown.count() > 0
        assert shown.locator(".plot[data-drawn=true] .main-svg").count() >= shown.count()
    assert "from some split between steps 50 and 800 of 2,000 on, in both trunks" in tab.locator(".answer").inner_text()


def test_one_reads_a_point_under_the_mouse(opened):
    tab = opened()
    point = tab.locator("#figure2 .panel").first.locator(".scatterlayer .point").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    tab.mouse.move(box["x"] - 20, box["y"])
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    read = tab.locator("#figure2 .hovertext").first
    read.wait_for()
    text = read.text_content()
    assert "J = 50, P = 5" in text and "k = 800" in text and "trunk" in text and "[0, 1]" in text


def test_one_reads_points_by_the_keyboard(opened):
    tab = opened()
    panel = tab.locator("#figure2 .panel").first
    panel.locator(".plot").focus()
    said = panel.locator(".said")
    found = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        tab.keyboard.press(key)
        found.append(said.inner_text())
        assert panel.locator(".hovertext").first.is_visible()
    assert ["k = 0" in found[0], "k = 50" in found[1], "k = 50" in found[2], "k = 0" in found[3]] == [True] * 4
    assert "p_conv" in found[0] and "trunk 0" in found[0] and found[1] != found[2]
    tab.keyboard.press("Escape")
    assert said.inner_text() == ""


def test_one_reads_cells_of_a_map_by_the_keyboard(opened):
    tab = opened()
    panel = tab.locator("#over_time .panel").first
    panel.locator(".plot").focus()
    for key, place in (("ArrowRight", "k = 0"), ("ArrowRight", "k = 50")):
        tab.keyboard.press(key)
        assert "p_conv: " in panel.locator(".said").inner_text() and place in panel.locator(".said").inner_text()
        panel.locator(".hovertext").filter(has_text=place).first.wait_for(timeout=10_000)


def test_tables_and_commands_are_copied(opened):
    tab = opened()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for kind, text in (("command", "python -m lmc_lab.study study=lenet"), ("table", "0\t0.02 [0.00, 0.10]")):
        button = tab.locator(f".copy[data-copies={kind}]").first
        button.click()
        tab.wait_for_function("button => button.textContent === 'copied'", arg=button.element_handle())
        assert text in tab.evaluate("navigator.clipboard.readText()")


def traces(tab):
    return tab.locator("#figure2 .panel").first.locator(".scatterlayer .trace").count()


def test_trunks_and_quantities_are_switched_off_and_on_by_the_keyboard(opened):
    tab = opened()
    assert traces(tab) == 6
    for name, left in (("trunk 1", 3), ("p_rand", 2)):
        button = tab.locator("#figure2").get_by_role("button", name=name, exact=True)
        button.focus()
        tab.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        tab.wait_for_timeout(300)
        assert traces(tab) == left
    button.press("Space")
    tab.wait_for_timeout(300)
    assert traces(tab) == 3


def test_the_bracket_of_an_onset_is_shaded_while_one_of_its_trunks_is_shown(opened):
    tab = opened()
    shaded = tab.locator("#figure2 .panel").first.locator(".shapelayer path")
    assert shaded.count() == 1
    for name, left in (("trunk 1", 1), ("trunk 0", 0)):
        tab.locator("#figure2").get_by_role("button", name=name, exact=True).click()
        tab.wait_for_timeout(300)
        assert shaded.count() == left


@pytest.mark.parametrize(("figure", "panels"), [("over_time", 3), ("hull", 1)])
def test_panels_of_one_trunk_go_with_it(opened, figure, panels):
    tab = opened()
    section = tab.locator(f"#{figure}")
    assert section.locator(".panel:visible").count() == 2 * panels
    section.get_by_role("button", name="trunk 1", exact=True).click()
    assert section.locator(".panel:visible").count() == panels
    section.get_by_role("button", name="trunk 1", exact=True).click()
    assert section.locator(".panel:visible").count() == 2 * panels


def test_the_split_axis_has_all_splits_and_two_scales(opened):
    tab = opened()

    def labels():
        return tab.locator("#figure2 .panel").first.locator(".xtick text").all_text_contents()

    assert labels() == ["0", "50", "800"]
    tab.locator("#figure2 .scale").click()
    tab.wait_for_timeout(300)
    assert tab.locator("#figure2 .scale").inner_text() == "symlog axis" and labels() == ["0", "50", "800"]


def test_on_a_narrow_linear_axis_close_splits_share_a_label_and_their_marks_stay_at_them(opened):
    tab = opened(400)
    tab.evaluate("views[0].panel.steps = [0, 5, 50, 800]")
    tab.locator("#figure2 .scale").click()
    tab.wait_for_timeout(300)
    assert tab.locator("#figure2 .panel").first.locator(".xtick text").all_text_contents() == ["0, 5", "50", "800"]
    xs = tab.evaluate("views[0].traces().find(trace => trace.meta.trunk === 'trunk 1').x")
    assert 0 < xs[0] < 2.5 and 50 < xs[1] < 52.5 + 45 / 4 and 800 < xs[2] < 812


def test_a_split_of_the_plane_is_chosen(opened):
    tab = opened()
    heading = tab.locator("#hull .panel:not([hidden]) h3").first
    assert "k = 800" in heading.inner_text()
    tab.locator("#hull").get_by_role("button", name="k = 50", exact=True).click()
    assert "k = 50" in heading.inner_text()
    tab.locator("#hull .panel:not([hidden]) .plot[data-drawn=true] .contourlayer").first.wait_for()


def test_a_table_is_sorted_at_a_click(opened):
    tab = opened()
    button = tab.locator("section.table .sort").first
    for order in (["0", "50", "800"], ["800", "50", "0"]):
        button.click()
        assert tab.locator("section.table tbody tr td:first-child").all_inner_texts() == order


def test_examples_are_seen(opened):
    tab = opened()
    tab.locator("#examples summary").first.click()
    assert tab.locator("#examples details[open] .examples figure:visible").count() == 4
    assert tab.locator("#examples figcaption").first.inner_text() == "0 · 5 of 5"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_is_light_or_dark(opened, width, scheme):
    tab = opened(width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width

    def brightness():
        return tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")

    assert (brightness() > 128) == (scheme == "light")
    tab.locator("#theme").click()
    assert (brightness() > 128) == (scheme == "dark")


def test_on_paper_are_legends_and_heads_of_tables_but_no_buttons_to_press(opened):
    tab = opened()
    tab.emulate_media(media="print")
    assert tab.locator("#figure2").get_by_role("button", name="p_rand", exact=True).is_visible()
    assert tab.locator("section.table th .sort").first.is_visible()
    for pressed in (".copy", ".scale", "#theme", "#hull .choice button[aria-pressed=false]"):
        assert not tab.locator(pressed).first.is_visible()


def test_on_paper_all_is_light_open_and_within_the_sheet(opened):
    tab = opened(1280, "dark")
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 680, "height": 1000})  # A4 with margins
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    outside = "all => all.filter(each => each.getBoundingClientRect().right > innerWidth).length"
    assert tab.locator(".panel:visible .main-svg").count() > 20
    for kind in (".main-svg", ".panel", "table"):
        assert tab.locator(kind).evaluate_all(outside) == 0
    within = "all => all.every(each => each.getBoundingClientRect().width <= each.closest('.plot').clientWidth + 1)"
    assert tab.locator(".panel:visible .main-svg").evaluate_all(within)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        tab.locator("#figure2 .xtick text").first.evaluate("each => getComputedStyle(each).fill") == "rgb(28, 33, 38)"
    )
    assert tab.locator("details:not([open])").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("theme.isDark") and tab.locator("details[open]").count() == 0


def test_the_page_is_printed(opened):
    tab = opened()
    margins = dict.fromkeys(("top", "bottom", "left", "right"), "10mm")
    assert tab.pdf(format="A4", margin=margins).startswith(b"%PDF")
    tab.wait_for_function("!paper.isLaid")
    assert (
        tab.locator("#figure2 .panel .plot").first.evaluate(
            "each => each.querySelector('.main-svg').getAttribute('viewBox')"
        )
        is None
    )


def test_the_data_of_the_page_are_json(page):
    start, end = '<script type="application/json" id="data">', "</script>"
    text = page.read_text()
    assert "hull" in json.loads(text.partition(start)[2].partition(end)[0]) and len(text) < 6e6
