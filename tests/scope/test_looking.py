"""The command, as its users run it."""

import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError, DataError
from minidl.runs import Config, train
from minidl.scope.looking import at_lab, at_run
from minidl.scope.settings import checked
from minidl.scope.views import look, network_view


def test_the_command_says_what_is_wrong_in_a_sentence():
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "minidl", "scope", *arguments], capture_output=True, text=True
        )

    for arguments, words in (
        (["--label", "3"], "--label"),
        (["--export", "x.html", "--run", "nothing"], "--export"),
        (["--export", "/nowhere/scope.html"], "no folder"),
        (["--run", "/nowhere", "--no-browser"], "no run folder"),
        (["--image", "/nowhere.png", "--no-browser"], "/nowhere.png"),
        (["--port", "70000"], "70000"),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_the_command_serves_until_it_is_interrupted():
    with subprocess.Popen(
        [sys.executable, "-m", "minidl", "scope", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        address = re.search(r"http://127\.0\.0\.1:\d+/", running.stdout.readline())[0]
        with urllib.request.urlopen(address) as page:
            assert "<h1" in page.read().decode()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130 and said == "stopped\n"


@pytest.fixture
def photo(tmp_path):
    """An image file: a white bar on black."""
    cv2 = pytest.importorskip("cv2")
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[8:32, 22:28] = 255
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), pixels)
    return str(path)


def test_ones_own_image_is_looked_at_first(photo):
    network = at_lab(photo, 1).network(checked({}))
    images, labels = network.first
    assert images.shape == (64, 1, 28, 28) and labels[0] == 1
    middle, edge = images[0, 0, 14, 14], images[0, 0, 0, 0]
    ordinary = at_lab().network(checked({})).first[0]
    assert middle > 2 and edge == ordinary.min()  # scaled as the digits are
    assert np.array_equal(images[1:], ordinary[1:])
    assert look(network).values[0].gradient[0].any()


def test_without_a_label_it_is_what_the_network_thinks(photo):
    network = at_lab(photo).network(checked({}))
    images, labels = network.first
    with md.no_grad():
        assert labels[0] == network.model(md.tensor(images)).numpy()[0].argmax()


def test_a_label_that_is_no_class_is_refused(photo):
    with pytest.raises(ConfigError, match="label from 0 to 9"):
        at_lab(photo, 10)
    with pytest.raises(DataError):
        at_lab(__file__)


def test_a_run_is_looked_at_with_its_own_model_and_data(tmp_path, photo):
    train(Config(data="digits", epochs=1, batch_size=256), tmp_path / "run", progress=False)
    subject = at_run(str(tmp_path / "run"), photo, 3)
    network = subject.network(checked({}, subject.controls))
    images, labels = network.first
    assert len(images) == 256 and labels[0] == 3
    stored = md.models.article_cnn()
    md.load(tmp_path / "run" / "model.safetensors", stored)
    for name, values in network.model.state_dict().items():
        assert np.array_equal(values, stored.state_dict()[name])
    view = network_view(network)
    assert [layer["kind"] for layer in view["layers"]] == ["Conv2d", "Dense"]
    logits = stored(md.tensor(images))
    assert view["loss"] == pytest.approx(md.ops.cross_entropy(logits, labels).item(), rel=1e-5)
    again = subject.network(checked({"seed": 1}, subject.controls)).first
    assert not np.array_equal(again[0], images)
