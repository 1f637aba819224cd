"""Everything that can be done on the page, done in a browser."""

import re

import numpy as np
import pytest

import minidl as md
from minidl.scope.film import film
from minidl.scope.pixel import true_change
from minidl.scope.scenes import SCENES
from minidl.scope.settings import CONTROLS, checked
from minidl.scope.subject import LabNetwork
from minidl.scope.views import look, network_view

TABS = ("network", "operations", "pixels", "fate")


def number(text):
    """A number as the page writes it."""
    found = re.fullmatch(r"([−-]?[\d.,]+)(?:×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text.strip())
    assert found, text
    power = (found[2] or "⁰").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(found[1].replace("−", "-").replace(",", "")) * 10 ** int(power)


def cells(driven, selector):
    """The rows of a table as texts."""
    rows = driven.page.locator(f"{selector} tr").all()
    return [row.locator("td, th").all_inner_texts() for row in rows]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_every_control_moves_the_network(lab, control):
    selector = f"#controls [name={control.name}]"
    before = cells(lab, "#network table"), lab.page.inner_text("#verdict")
    if control.kind == "choice":
        for index in range(len(control.choices)):
            if index != control.choices.index(control.default):
                lab.after(lambda i=index: lab.page.locator(selector).select_option(index=i))
        lab.after(lambda: lab.page.locator(selector).select_option(index=1))
    elif control.kind == "log":
        for position in (0, 200, 130):
            lab.put(selector, position)
    else:
        for value in (control.low, 12):
            lab.put(selector, value)
    changed = cells(lab, "#network table"), lab.page.inner_text("#verdict")
    assert control.name == "clip" or changed != before
    lab.after(lambda: lab.page.click("#controls button"))
    assert (cells(lab, "#network table"), lab.page.inner_text("#verdict")) == before


def test_the_network_is_the_engines(lab):
    lab.scene("explodes")
    network = LabNetwork().network(checked({"scale": 2.46}))
    view = network_view(network)
    rows = cells(lab, "#network table")[1:]
    assert len(rows) == len(view["layers"]) == lab.page.locator(".dot.signal").count()
    for row, layer in zip(rows, view["layers"], strict=True):
        assert number(row[1]) == pytest.approx(layer["signal"], rel=5e-3)
        assert number(row[3]) == pytest.approx(layer["gradient"], rel=5e-3)
        assert number(row[5]) == pytest.approx(layer["update"], rel=5e-2)
    assert lab.page.get_attribute("[data-verdict]", "data-verdict") == "will diverge"


def test_every_operation_can_be_stepped_through_with_the_keys(lab):
    lab.tab("operations")
    record = look(LabNetwork().network(checked({})))
    count = len(record.operations) + len(record.pulls)
    titles = []
    for at in range(count):
        assert lab.page.get_attribute("body", "data-step") == str(at)
        titles.append(lab.page.inner_text("#step h2"))
        assert lab.page.locator("#step canvas").count() >= 2
        backward = at >= len(record.operations)
        assert (lab.page.locator("#step pre mark.formula").count() == 1) == backward
        lab.page.keyboard.press("ArrowRight")
    assert lab.page.get_attribute("body", "data-step") == str(count - 1)  # there it ends
    names = [title.split()[0] for title in titles]
    assert names[: len(record.operations)] == [o.name for o in record.operations]
    for at in reversed(range(count)):
        assert lab.page.inner_text("#step h2") == titles[at]
        lab.page.keyboard.press("ArrowLeft")
    assert lab.page.get_attribute("body", "data-step") == "0"
    lab.page.keyboard.press("End")
    assert lab.page.inner_text("#step h2") == titles[-1]
    lab.page.click("[aria-label='First step']")
    lab.page.click("[aria-label='Step on (right arrow)']")
    assert lab.page.inner_text("#step h2") == titles[1]
    lab.page.locator("[data-step='30']").click()
    assert lab.page.inner_text("#step h2") == titles[30]


def written_sum(driven):
    """The parts of a sum that is written out, and its total, each as often as they are written."""
    parts = [number(row[-1]) for row in cells(driven, ".parts") if len(row) > 1]
    products = [number(row[-1]) for row in cells(driven, ".products") if len(row) > 1]
    return parts, products


def check_sum(driven):
    parts, products = written_sum(driven)
    assert "NOT" not in driven.page.inner_text(".sum")
    for numbers in (parts, products):  # to the last digit that is shown
        digits = max(len(str(n).partition(".")[2]) for n in numbers)
        assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=10.0**-digits / 2 + 1e-12)
    assert number(driven.page.inner_text(".sum b").split("=")[1]) == pytest.approx(
        parts[-1], rel=1e-3
    )


@pytest.mark.parametrize("place", [(5, 5), (40, 60), (90, 120)])
def test_a_convolutions_sums_add_up(lab, place):
    lab.tab("operations")
    lab.page.locator("[data-step='2']").click()
    x, y = place
    canvases = lab.page.locator("#step canvas")
    canvases.nth(3).hover(position={"x": x, "y": y})  # the output: its window
    assert lab.page.inner_text(".sum b").startswith("y[")
    check_sum(lab)
    canvases.nth(0).hover(position={"x": x, "y": y})  # the input: the gradients that it gathers
    assert lab.page.inner_text(".sum b").startswith("∂L/∂x[")
    check_sum(lab)
    assert "conv_forward" in lab.page.inner_text(".loops")


def test_a_convolution_is_pointed_at_with_the_keys(lab):
    lab.tab("operations")
    lab.page.locator("#step canvas").nth(3).focus()
    for _ in range(3):
        lab.page.keyboard.press("ArrowRight")
    lab.page.keyboard.press("ArrowDown")
    assert lab.page.inner_text(".sum b").startswith("y[0,1,3]")
    assert lab.page.get_attribute("body", "data-step") == "0"  # the arrows moved the cursor alone
    check_sum(lab)


def test_pooling_shows_who_won(drive):
    md.manual_seed(0)
    images = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)
    with md.scope(md.models.article_cnn(), (images, np.arange(4))) as opened:
        page = drive(opened.url)
        page.tab("operations")
        page.page.locator("#steps button", has_text="max_pool2d").first.click()
        page.page.locator("#step canvas").nth(1).hover(position={"x": 20, "y": 20})
        said = page.page.inner_text(".panel")
        values, winner = re.fullmatch(r"y\[[\d,]+\] is the largest of (.+): (\S+)", said).groups()
        assert number(winner) == max(map(number, values.split(", ")))
        texts = set()
        for x in range(4, 40, 3):  # some pixels won their window, some did not
            page.page.locator("#step canvas").first.hover(position={"x": x, "y": 12})
            texts.add(page.page.inner_text(".panel").split("]")[1].split()[0])
        assert texts == {"gets", "won"}


def test_a_pixel_is_changed_and_the_truth_stands_beside_the_promise(lab):
    lab.tab("pixels")
    network = LabNetwork().network(checked({}))
    gradient = look(network).values[0].gradient[0, 0]
    for delta in ("0.01", "0.1", "1", "-1"):
        lab.page.check(f"[name=delta][value='{delta}']")
        lab.page.locator("#pixels canvas").first.click(position={"x": 150, "y": 120})
        written = delta.replace("-", "−")
        lab.until(
            f"document.querySelector('#tried tbody td:nth-child(2)')?.innerText === '{written}'"
        )
        place, change, predicted, truth, _ = cells(lab, "#tried tbody")[0]
        pixel = tuple(map(int, place.split(", ")))
        assert number(change) == float(delta)
        assert number(predicted) == pytest.approx(gradient[pixel[1:]] * float(delta), rel=2e-3)
        expected = true_change(network, 0, pixel, float(delta))
        assert number(truth) == pytest.approx(expected, rel=2e-3)
    small = cells(lab, "#tried tbody")[3]
    assert number(small[2]) == pytest.approx(number(small[3]), rel=0.05)
    lab.put("#image", 7)
    assert "label" not in lab.page.inner_text(".image")
    assert lab.page.locator("#tried tbody tr").count() == 0  # another image, another table


def test_one_training_learns_one_diverges_and_the_same_seed_replays_it(lab):
    lab.tab("fate")
    assert lab.film() == "learned"
    assert "It learned" in lab.page.inner_text(".ending")
    assert lab.page.inner_text("#step-now") == "step 60 of 60"
    lab.page.click("#again")
    lab.until("document.body.dataset.repeated === 'same'")
    assert "60 of 60" in lab.page.inner_text("#repeated")

    lab.put("#controls [name=rate]", 160)
    frames = list(film(LabNetwork().network(checked({"rate": 1.0}))))
    assert lab.film() == "diverged" == frames[-1]["end"]
    assert f"in step {frames[-1]['step'] + 1} " in lab.page.inner_text(".ending")
    lab.page.click("#again")
    lab.until("document.body.dataset.repeated === 'same'")


def test_a_film_pauses_rewinds_and_can_be_moved(lab):
    lab.tab("fate")
    lab.film()
    lab.page.click("#rewind")
    lab.until("document.querySelector('#cursor').value > 2")
    lab.page.click("#pause")
    here = lab.page.input_value("#cursor")
    assert lab.page.inner_text("#pause") == "Play" and int(here) < 59
    lab.page.wait_for_timeout(200)
    assert lab.page.input_value("#cursor") == here
    lab.page.eval_on_selector(
        "#cursor", "e => { e.value = 30; e.dispatchEvent(new Event('input')) }"
    )
    assert lab.page.inner_text("#step-now") == "step 31 of 60"
    lab.page.click("#pause")
    lab.until("document.body.dataset.film === 'done'")


def test_two_settings_side_by_side_with_one_thing_changed(lab):
    lab.tab("fate")
    lab.page.check("#compare")
    lab.page.locator("#changed").select_option(label="Weights × He")
    lab.page.eval_on_selector(
        "#changed-to", "e => { e.value = 200; e.dispatchEvent(new Event('input')) }"
    )
    lab.film()
    endings = lab.page.locator(".ending").all_inner_texts()
    assert "It learned" in endings[0] and "It diverged" in endings[1]
    titles = lab.page.locator(".film h3").all_inner_texts()
    assert titles == ["A · Weights × He 1 ×", "B · Weights × He 10 ×"]
    assert lab.page.locator(".film canvas").count() == 4


def test_a_move_stops_the_film(lab):
    lab.put("#controls [name=depth]", 32)
    lab.tab("fate")
    lab.page.click("#go")
    lab.until("document.body.dataset.film === 'running'")
    lab.put("#controls [name=depth]", 4)
    assert lab.page.locator(".film").count() == 0
    assert lab.film() in ("learned", "neither", "diverged")


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s["name"])
def test_every_scene_asks_and_checks_the_answer(lab, scene):
    lab.scene(scene["name"])
    assert lab.page.locator("#lesson p").first.inner_text()
    verdicts = []
    for answer in range(3):
        lab.page.click(f"[data-answer='{answer}']")
        lab.until("document.querySelector('#said').dataset.right")
        verdicts.append(lab.page.get_attribute("#said", "data-right"))
        assert len(lab.page.inner_text("#said")) > 5
        lab.page.eval_on_selector("#said", "e => { delete e.dataset.right }")
    assert sorted(verdicts) == ["false", "false", "true"]
    assert "✓" in lab.page.inner_text(f"[data-scene={scene['name']}]")


def test_the_reason_is_shown_where_one_weight_follows_the_other(lab):
    lab.scene("explodes")
    forward, backward = lab.page.locator("#network .why").all_inner_texts()
    assert "= 2.48" in forward and "2.48" in backward
    flat = lab.page.locator("#network path.flat").all()
    assert [len({*re.findall(r" ([\d.]+)", line.get_attribute("d"))}) for line in flat] == [1, 1]
    lab.page.click("[data-answer='0']")
    said = lab.page.inner_text("#said")
    assert "2.34 × 2.34 = 5.48" in said and "Factors multiply" in said  # a wrong answer's reason
    lab.tab("fate")
    assert "(conv 5)" in lab.page.inner_text(".findings")
    lab.tab("network")
    lab.after(lambda: lab.page.select_option("#controls [name=body]", label="BatchNorm"))
    assert lab.page.locator("#network .why").count() == 0


def test_the_export_works_from_a_file(drive, exported):
    page = drive(exported)
    for scene in SCENES:
        page.scene(scene["name"])
        for tab in TABS:
            page.tab(tab)
            assert page.page.locator(f"#{tab} .note:text('not recorded')").count() == 0
        page.film()
        if scene["name"] in ("fast", "explodes"):
            assert page.page.get_attribute("body", "data-end") == "diverged"
    page.scene("healthy")
    page.tab("operations")
    page.page.locator("[data-step='2']").click()
    page.page.locator("#step canvas").nth(3).hover(position={"x": 40, "y": 40})
    check_sum(page)
    page.tab("pixels")
    page.page.locator("#pixels canvas").first.click(position={"x": 150, "y": 120})
    page.page.locator("#tried tbody tr").wait_for()
    truth = number(cells(page, "#tried tbody")[0][3])
    place = tuple(map(int, cells(page, "#tried tbody")[0][0].split(", ")))
    network = LabNetwork().network(checked({}))
    assert truth == pytest.approx(true_change(network, 0, place, 1), rel=2e-3)
    page.tab("network")
    page.put("#controls [name=scale]", 0)
    page.put("#controls [name=depth]", 0)
    assert len(cells(page, "#network table")) == 6
    page.tab("operations")
    assert "not recorded" in page.page.inner_text("#operations")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_languages_and_themes_in_every_view(drive, server, exported, language, theme):
    locale = {"en": "en-GB", "zh": "zh-CN"}[language]
    for address in (server.url, exported):
        page = drive(address, color_scheme=theme, locale=locale)
        assert page.page.get_attribute("html", "data-theme") == theme
        assert page.page.get_attribute("html", "lang")[:2] == language
        for tab in TABS:
            page.tab(tab)
            text = page.page.inner_text("body")
            assert bool(re.search("[一-鿿]{3}", text)) == (language == "zh")
            page.check()
        page.page.click("#language")
        page.page.click("#theme")
        page.page.click("#theme")
        assert page.page.get_attribute("html", "lang")[:2] != language
        assert page.page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_nothing_sticks_out_at_any_width(drive, server, width):
    page = drive(server.url, viewport={"width": width, "height": 900})
    page.scene("cured")
    page.film()
    for tab in TABS:
        page.tab(tab)
        wide = page.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, tab


def test_everything_has_a_name_for_a_screen_reader(lab):
    for tab in TABS:
        lab.tab(tab)
        nameless = lab.page.evaluate(
            """() => [...document.querySelectorAll('input, select, button, canvas[role=img], svg')]
            .filter(e => e.checkVisibility() && !e.closest('.uplot'))
            .filter(e => !(e.ariaLabel || (e.labels?.[0] ?? e).textContent.trim()))
            .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
    assert lab.page.locator("[role=tab][aria-selected=true]").count() == 1
    assert lab.page.locator("h1").count() == 1


def test_tabs_are_moved_with_the_arrows(lab):
    lab.page.focus("#tab-network")
    lab.after(lambda: lab.page.keyboard.press("ArrowRight"))
    assert lab.page.evaluate("document.activeElement.id") == "tab-operations"
    assert lab.page.locator("#operations").is_visible()


def test_a_hundred_random_moves_are_all_drawn(lab):
    """Faster than the engine answers: the last one counts, and nothing stalls."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        name = rng.choice(["scale", "rate", "depth", "inputs"])
        value = int(rng.integers(2, 9)) if name == "depth" else int(rng.integers(0, 200))
        lab.page.eval_on_selector(
            f"#controls [name={name}]",
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')) }",
            value,
        )
    lab.put("#controls [name=depth]", 5)
    lab.until("document.querySelectorAll('#network tbody tr').length === 6")


def test_an_error_of_the_engine_is_said_on_the_page(lab):
    lab.page.route("**/step", lambda route: route.fulfill(status=400, json={"error": "no luck"}))
    lab.after(lambda: lab.page.click("#controls button"))
    assert "no luck" in lab.page.inner_text("#status")
    assert lab.errors and all("400" in error for error in lab.errors)
    lab.errors.clear()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_address_names_a_scene_and_a_language(drive, server, exported, language):
    for address in (server.url, exported):
        page = drive(f"{address}?language={language}#explodes")
        assert page.page.get_attribute("html", "lang")[:2] == language
        assert page.page.get_attribute("[data-scene=explodes]", "aria-current") == "step"
        page.until("document.querySelector('#controls [name=scale]').value !== '0'")
    page = drive(f"{server.url}?language=tlh#nowhere")
    assert page.page.get_attribute("html", "lang")[:2] in ("en", "zh")
