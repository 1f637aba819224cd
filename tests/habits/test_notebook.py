"""A notebook as a user writes it, run by Jupyter's own machinery: what each cell shows."""

import re

import nbclient
import nbformat
import numpy as np
import pytest

import minidl as md
from minidl import notebook

CELLS = {
    "imports": "import numpy as np\nimport minidl as md\nmd.manual_seed(0)",
    "tensor": "md.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)",
    "model": "model = md.models.article_cnn(size=8)\nmodel",
    "report": """
rng = np.random.default_rng(0)
images = rng.normal(size=(64, 1, 8, 8)).astype("f")
labels = np.arange(64) % 10
report = md.health.doctor(model, (images, labels))
report""",
    "report's figure": "report.plot()",
    "dataset": "data = md.data.Dataset(images, labels, name='noise')\ndata",
    "history": """
monitor = md.health.GradientMonitor(model)
optimizer = md.optim.SGD(model.parameters(), 0.01)
trainer = md.Trainer(model, optimizer=optimizer, monitors=[monitor])
history = trainer.fit(data, epochs=2, batch_size=16, progress=False)
history""",
    "curves": "md.plot.curves(history)",
    "gradients": "md.plot.gradients(history)",
    "monitor": "monitor.plot()",
}
FIGURES = ("report's figure", "curves", "gradients", "monitor")


@pytest.fixture(scope="module")
def shown():
    """What each cell showed: its MIME types and data."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS.values()])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    found = {}
    for name, cell in zip(CELLS, book.cells, strict=True):
        results = [o for o in cell.outputs if o.output_type == "execute_result"]
        noise = [o for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
        assert not noise, f"{name}: {noise}"
        found[name] = results[0].data if results else {}
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_itself_without_a_path(shown, name):
    assert "image/png" in shown[name], shown[name]


def text(html):
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html)).strip()


def test_what_the_cells_say(shown):
    seen = {name: text(data["text/html"]) for name, data in shown.items() if "text/html" in data}
    assert seen["tensor"] == (
        "Tensor shape (2, 3), float32, on cpu, requires a gradient, from 0 to 5 0 1 2 3 4 5"
    )
    assert "0 Conv2d weight (32, 1, 3, 3), bias (32,) 320" in seen["model"]
    assert seen["model"].endswith("all 5,450")
    assert "layer" in seen["report"] and "verdict" in seen["report"]
    assert seen["dataset"].startswith("Dataset noise 64 images (1, 8, 8) float32 10 classes")
    assert seen["history"].startswith(
        "History of 8 steps epoch train loss train accuracy seconds 1 "
    )


def test_tensors_of_all_kinds():
    x = md.tensor(np.arange(100.0).reshape(10, 10), requires_grad=True)
    assert "made by sqrt" in text(x.sqrt()._repr_html_())
    assert text(x._repr_html_()).count("…") == 8 + 8 + 1
    assert text(md.tensor(3.5)._repr_html_()) == "Tensor 3.5, shape (), float32, on cpu"
    bad = md.tensor(np.array([1.0, np.nan, np.inf, -2.0]))
    assert "from -2 to 1, 2 not finite" in text(bad._repr_html_())
    assert "shape (0,)" in text(md.zeros(0)._repr_html_())
    assert "shape (2, 3, 4)" in text(md.zeros(2, 3, 4)._repr_html_())
    assert "True" in text(md.tensor(np.array([True, False]))._repr_html_())
    assert "nan" in text(md.tensor(np.array([np.nan, np.nan]))._repr_html_())
    assert "1+2j" in text(md.tensor(np.array([1 + 2j, 0]))._repr_html_())


def test_a_layer_in_two_places_is_counted_once():
    dense = md.nn.Dense(3, 3)
    model = md.nn.Sequential(dense, md.nn.ReLU(), dense)
    assert text(model._repr_html_()).endswith("all 12")


def test_markup_in_a_name_is_text():
    assert notebook.table(["<b>"], [["a & b"]]) == (
        "<table><tr><th>&lt;b&gt;</th></tr><tr><td>a &amp; b</td></tr></table>"
    )
