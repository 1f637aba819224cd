"""The figure of a recorded graph shows every operation with its value and gradient."""

import subprocess

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError, GradientError
from minidl.plot import graphs as module

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(autouse=True)
def without_graphviz(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_numbers_and_gradients_of_each_operation(tmp_path):
    x = md.tensor(3.0, requires_grad=True)
    w = md.tensor(0.5, requires_grad=True)
    y = x * w
    z = y * y + md.ops.exp(w)
    shown = texts(md.plot.graph(z, tmp_path / "g.png", names={"x": x, "z": z, "w": w}))
    assert "x\n3\n∂ 1.5" in shown  # dz/dx = 2·x·w²
    assert f"w\n0.5\n∂ {2 * 9 * 0.5 + np.exp(0.5):.4g}" in shown
    assert f"z = add\n{2.25 + np.exp(0.5):.4g}\n∂ 1" in shown
    assert "multiply\n1.5\n∂ 3" in shown and len(shown) == 6
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    assert x.grad is None and w.grad is None  # and the graph is still there
    z.backward()
    assert x.grad.item() == 1.5


def test_arrays_are_shown_by_shape_and_size():
    model = md.nn.Sequential(md.nn.Dense(4, 3), md.nn.ReLU())
    y = model(np.ones((5, 4), "f"))
    shown = texts(md.plot.graph(y))
    assert any(text.startswith("relu\n5×3  rms") for text in shown)
    assert any(text.startswith("leaf\n5×4  rms 1") and "∂" not in text for text in shown)


def test_no_two_boxes_lie_on_each_other():
    rng = np.random.default_rng(0)
    parts = [md.tensor(rng.standard_normal(()), requires_grad=True) for _ in range(4)]
    for _ in range(20):
        a, b = rng.choice(len(parts), 2)
        parts.append(md.ops.sin(parts[a]) if a == b else parts[a] * parts[b] + parts[a])
    total = sum(parts[4:], start=parts[-1])
    figure = md.plot.graph(total)
    places = [t.get_position() for t in figure.axes[0].texts if t.get_text()]
    gaps = [max(abs(a[0] - b[0]) / 1.7, abs(a[1] - b[1]) / 0.8)
            for i, a in enumerate(places) for b in places[:i]]  # fmt: skip
    assert min(gaps) >= 1 and len(places) == len(set(places))


def test_graphviz_places_the_boxes_where_it_is_installed(monkeypatch):
    said = []

    def run(command, input, **options):
        said.append(input)
        names = [part.split('"')[1] for part in input.split(";") if "label" in part]
        lines = [f"node {n} {i}.5 {i}.25 1 1" for i, n in enumerate(names)]
        return subprocess.CompletedProcess(
            command, 0, "\n".join(["graph 1 9 9", *lines, "stop"]), ""
        )

    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/dot")
    monkeypatch.setattr(module.subprocess, "run", run)
    x = md.tensor(2.0, requires_grad=True)
    figure = md.plot.graph(x * x)
    assert said[0].count("->") == 2
    places = [t.get_position() for t in figure.axes[0].texts if t.get_text()]
    assert places == [(0.5, 0.25), (1.5, 1.25)]
    monkeypatch.setattr(module.subprocess, "run", _fail)
    assert len(texts(md.plot.graph(x * x))) == 2


def _fail(*command, **options):
    raise subprocess.TimeoutExpired("dot", 60)


def test_what_cannot_be_drawn_is_refused():
    x = md.tensor(2.0, requires_grad=True)
    with pytest.raises(GradientError, match="that operations have recorded, got one that none has"):
        md.plot.graph(x)
    with pytest.raises(GradientError, match="got ndarray"):
        md.plot.graph(np.ones(3))
    y = md.ops.exp(x)
    z = y * y
    z.backward()
    with pytest.raises(GradientError, match="retain_graph=True"):
        md.plot.graph(z)
    y = x
    for _ in range(200):
        y = y * 1.01
    with pytest.raises(ConfigError, match="at most 150 boxes"):
        md.plot.graph(y)
