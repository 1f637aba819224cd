import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import plot
from minidl.errors import ConfigError

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def made(layers=2, steps=12, epochs=3):
    step = np.arange(steps)
    columns = {
        "step": step,
        "epoch": step * epochs // steps + 1,
        "learning_rate": 0.1 / (1 + step),
        "loss": 2.0 / (1 + step),
        "accuracy": step / steps,
        "gradient_norm": 1.0 / (1 + step),
    }
    columns |= {f"gradient_norm/{i}": 0.5 / (i + 1 + step) for i in range(layers)}
    ends = {"epoch": np.arange(1, epochs + 1), "seconds": np.ones(epochs)}
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        ends[name] = np.linspace(1, 0.5, epochs)
    return SimpleNamespace(steps=columns, epochs=ends)


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of files."""
    figures = []
    monkeypatch.setattr(plot.training, "write_figure", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize("draw", [plot.curves, plot.gradients])
def test_a_png_is_written_without_pyplot(tmp_path, draw):
    sys.modules.pop("matplotlib.pyplot", None)
    draw(made(), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


def test_curves_show_the_numbers(drawn):
    history = made()
    plot.curves(history, "")
    loss, accuracy, rate = drawn[0].axes
    lines = {line.get_label(): line for line in loss.get_lines()}
    np.testing.assert_array_equal(lines["training, each batch"].get_ydata(), history.steps["loss"])
    validation = lines["validation, each epoch"]
    np.testing.assert_array_equal(validation.get_xdata(), [3, 7, 11])
    np.testing.assert_array_equal(validation.get_ydata(), history.epochs["validation_loss"])
    assert len(accuracy.get_lines()) == 3
    np.testing.assert_array_equal(rate.get_lines()[0].get_ydata(), history.steps["learning_rate"])
    assert all(axis.get_ylabel() for axis in (loss, accuracy, rate))


def test_curves_without_validation_or_a_whole_epoch(drawn):
    history = made()
    for name in ("validation_loss", "validation_accuracy"):
        del history.epochs[name]
    plot.curves(history, "")
    assert len(drawn[0].axes[0].get_lines()) == 2
    history.epochs = {name: values[:0] for name, values in history.epochs.items()}
    plot.curves(history, "")
    assert len(drawn[1].axes[0].get_lines()) == 1


def test_an_exploding_loss_is_drawn_on_a_log_scale(drawn):
    history = made()
    history.steps["loss"][-2:] = [1e8, np.nan]
    plot.curves(history, "")
    plot.curves(made(), "")
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["log", "linear"]


def test_gradients_show_each_layer_and_the_bad_step(drawn):
    history = made()
    history.steps["gradient_norm"][-1] = np.inf
    history.steps["gradient_norm/1"][3] = 0
    plot.gradients(history, "")
    axis = drawn[0].axes[0]
    assert axis.get_yscale() == "log"
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert list(lines) == ["all layers", "layer 0", "layer 1", "not finite (step 11)"]
    assert np.isnan(lines["layer 1"].get_ydata()[3]) and np.isnan(
        lines["all layers"].get_ydata()[11]
    )
    np.testing.assert_array_equal(lines["layer 0"].get_ydata(), history.steps["gradient_norm/0"])


def test_many_layers_get_a_colour_scale(drawn, tmp_path):
    plot.gradients(made(layers=30), "")
    axis, bar = drawn[0].axes
    assert len(axis.get_lines()) == 31
    assert len(axis.get_legend().get_texts()) == 1
    assert "layer" in bar.get_ylabel()


def test_gradients_that_are_all_zero(tmp_path):
    history = made()
    for name in history.steps:
        if "gradient" in name:
            history.steps[name] *= 0
    plot.gradients(history, tmp_path / "figure.png")


@pytest.mark.parametrize("draw", [plot.curves, plot.gradients])
def test_errors(tmp_path, draw, monkeypatch):
    with pytest.raises(ConfigError, match="no steps"):
        draw(made(steps=0, epochs=0), tmp_path / "figure.png")
    with pytest.raises(ConfigError, match="cannot write"):
        draw(made(), tmp_path / "no" / "figure.png")
    with pytest.raises(ConfigError, match="cannot write"):
        draw(made(), tmp_path / "figure.unknown")
    with pytest.raises(ConfigError, match="cannot write"):
        draw(made(), tmp_path)
    draw(made(), tmp_path / "figure")
    assert [path.name for path in tmp_path.iterdir()] == ["figure"], (
        "it has the name that was given"
    )
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'minidl\[demos\]'"):
        draw(made(), tmp_path / "figure.png")
