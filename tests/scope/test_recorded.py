"""The page in one file: what it holds, and how large it is."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from minidl.scope import page, recorded
from minidl.scope.film import film
from minidl.scope.recorded import FULL, SCENES, Plan, export, key
from minidl.scope.settings import checked
from minidl.scope.subject import LabNetwork
from minidl.scope.views import network_view
from tests.scope.test_pack import unpacked

LITTLE = Plan(grid=({"scale": (0.4, 1.0), "depth": (4, 8)},), filmed=({"rate": (0.03, 0.1)},))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The text of a page with few recorded settings, and what it holds."""
    path = tmp_path_factory.mktemp("page") / "scope.html"
    said = []
    size = export(path, LITTLE, said.append)
    text = path.read_text(encoding="utf-8")
    assert size == len(text.encode()) and said
    packed = re.search(r'id="recorded">"([^"]+)"', text)[1]
    return text, json.loads(gzip.decompress(base64.b64decode(packed)))


def test_it_asks_nobody_for_anything(written):
    text, _ = written
    own = text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address that is loaded
    assert "http://" not in re.sub(r"<!--.*?-->", "", own, flags=re.DOTALL).replace(
        page.text_of(page.PLOTS), ""
    )
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "Leon Sorokin" in text  # uPlot's licence travels with it


def test_the_scenes_are_in_it_whole(written):
    _, data = written
    for scene in SCENES:
        name = key(checked(scene["settings"]))
        assert name in data["views"] and data["films"][name][-1]["end"]
    healthy = data["operations"][""]
    assert len(healthy["operations"]["operations"]) == 19
    assert {d: unpacked(p).shape for d, p in healthy["pixels"].items()} == {
        "1": (1, 28, 28),
        "-1": (1, 28, 28),
    }


def test_what_was_recorded_is_what_the_engine_says(written):
    _, data = written
    settings = checked({"scale": 0.4, "depth": 4})
    network = LabNetwork().network(settings)
    view = network_view(network)
    stored = data["views"]["scale=0.4 depth=4"]
    assert stored["doctor"]["verdict"] == view["doctor"]["verdict"]
    for row, mine in zip(stored["layers"], view["layers"], strict=True):
        assert row["signal"] == pytest.approx(mine["signal"], rel=1e-4)
    frames = list(film(LabNetwork().network(checked({"rate": 0.1}))))
    losses = [frame["loss"] for frame in data["films"]["rate=0.1"][1:-1]]
    assert losses == pytest.approx([frame["loss"] for frame in frames[1:-1]], rel=1e-4)


def test_sums_can_be_written_out_from_what_is_stored(written):
    _, data = written
    view = data["operations"][""]["operations"]
    operation = next(o for o in view["operations"] if o["name"] == "linear")
    x, w, b = (unpacked(view["values"][i]["value"]["data"]) for i in operation["inputs"])
    y = unpacked(view["values"][operation["output"]]["value"]["data"])
    assert w @ x + b == pytest.approx(y, rel=1e-3, abs=1e-4)


def test_names_of_settings_are_as_the_page_makes_them():
    assert key(checked({})) == ""
    assert key(checked({"scale": 2.46, "rate": 1.0, "body": "batch_norm"})) == (
        "scale=2.46 body=batch_norm rate=1"
    )
    assert key(checked({"rate": 1e-4})) == "rate=0.0001"
    assert key(checked({"scale": 4.0, "rate": 3.0}), recorded.DESCENT) == "scale=4"


def test_a_control_has_the_recorded_values_as_its_stops(written):
    text, _ = written
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    controls = {c["name"]: c for c in facts["controls"]}
    assert controls["scale"]["stops"] == [0.4, 1.0, 2.46]
    assert controls["depth"]["stops"] == [4, 8]
    assert controls["optimizer"]["choices"] == ["sgd", "adam"]
    assert "width" not in controls and "seed" not in controls


def test_the_whole_recording_will_be_smaller_than_two_megabytes(written):
    """From the parts of the small one: a view and a film by number, the scenes' operations once."""
    text, data = written

    def packed(value):
        return len(base64.b64encode(gzip.compress(json.dumps(value).encode())))

    views = sum(
        int(np.prod([len(v) for v in part.values()])) for part in (*FULL.grid, *FULL.filmed)
    )
    films = sum(int(np.prod([len(v) for v in part.values()])) for part in FULL.filmed)
    page_alone = len(text) - packed(data)
    expected = page_alone + packed(data["operations"])
    expected += packed(data["views"]) / len(data["views"]) * (views + 6)
    expected += packed(data["films"]) / len(data["films"]) * (films + 6)
    assert expected < 2e6


def test_no_text_can_end_the_script_that_holds_it():
    text, _ = page.served_page({"facts": {"title": "</script><script>alert(1)</script>"}})
    assert "</script><script>alert" not in text
