import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import minidl
from minidl.runs import Run
from minidl.train import History, load

click = pytest.importorskip("click", reason="click is not installed")
cv2 = pytest.importorskip("cv2")

from click.testing import CliRunner  # noqa: E402

from minidl.cli import cli  # noqa: E402

FILES = ["checkpoint", "config.json", "curves.png", "gradients.png", "history.csv"]
FILES += ["model.safetensors"]
if importlib.util.find_spec("tensorboard") is not None:
    FILES += ["tensorboard"]


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def paint(folder, seed=0, count=8, size=8):
    """Colour images of two classes, "dark" and "light"."""
    rng = np.random.default_rng(seed)
    for name, low in (("dark", 0), ("light", 150)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(low, low + 100, (size, size, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{i}.png"), pixels)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    paint(folder / "train")
    paint(folder / "test", seed=1, count=4)
    return folder


# A constant rate: the other schedules depend on the number of epochs.
OPTIONS = ("--model", "mlp", "--epochs", 3, "--batch-size", 4, "--quiet", "--lr", 0.01,
           "--schedule", "constant")  # fmt: skip


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "one"
    return out, call("train", "--data", images, *OPTIONS, "--out", out)


def test_train_fills_the_folder_and_prints_what_came_out(trained):
    out, output = trained
    assert sorted(os.listdir(out)) == FILES
    for text in ("Dense", "16 images to train on", "test accuracy", "history.csv", "time"):
        assert text in output
    assert len(History.from_csv(out / "history.csv")) == 12


def test_export_takes_images_as_predict_does(trained, images):
    pytest.importorskip("onnx", reason="onnx is not installed: nothing builds the file")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    out, _ = trained
    assert "(N, 3, 8, 8) float32 in [0, 1], output (N, 2)" in call(
        "export", out, "--out", out.parent / "m.onnx"
    )
    session = runtime.InferenceSession(out.parent / "m.onnx")
    path = images / "test" / "light" / "0.png"
    [logits] = session.run(None, {"input": minidl.data.load_image(path)[None]})
    expected = Run.open(out).predict([path])
    np.testing.assert_allclose(minidl.ops.softmax(logits), expected, rtol=1e-4, atol=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["dark", "light"]


def test_config_holds_what_rebuilds_the_run(trained, images):
    content = json.loads((trained[0] / "config.json").read_text())
    assert content["options"]["data"] == str(images)
    assert content["options"]["model"] == "mlp" and content["options"]["lr"] == 0.01
    assert content["data"]["classes"] == ["dark", "light"]
    assert content["data"]["image_shape"] == [3, 8, 8]
    assert len(content["data"]["normalize"]["mean"]) == 3
    assert content["versions"]["minidl"] == minidl.__version__
    assert content["machine"]["cpus"] == os.cpu_count()


def test_evaluate_and_predict_agree_with_the_training(trained, images, tmp_path):
    out, output = trained
    measured = call("evaluate", out, "--out", tmp_path)
    accuracy = float(measured.split("test accuracy")[1].split()[0])
    assert f"test accuracy      {accuracy:.2%}" in output
    paths = sorted((images / "test").rglob("*.png"))
    lines = call("predict", out, *paths).splitlines()[1:]
    found = [line.split()[-2] for line in lines]
    right = np.mean([name == path.parent.name for name, path in zip(found, paths, strict=True)])
    assert right == accuracy > 0.8
    assert all(0.5 <= float(line.split()[-1]) <= 1 for line in lines)


def test_evaluate_shows_each_class_and_every_image(trained, images, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    said = call("evaluate", out)
    assert "class  precision  recall      F1  images" in said
    assert re.search(r"^light .* 4$", said, re.M) and re.search(r"^mean .* 8$", said, re.M)
    with open(out / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == sorted(map(str, (images / "test").rglob("*.png")))
    assert all(row["label"] == os.path.basename(os.path.dirname(row["image"])) for row in rows)
    probabilities = Run.open(out).predict([row["image"] for row in rows])
    for row, given in zip(rows, probabilities, strict=True):
        assert float(row["p(dark)"]) == pytest.approx(given[0], rel=1e-4, abs=1e-6)
        assert row["guess"] == ("dark" if given[0] > given[1] else "light")
        assert row["right"] == ("yes" if row["guess"] == row["label"] else "no")
    wrong = any(row["right"] == "no" for row in rows)
    written = {"predictions.csv", "confusion.png", *(["mistakes.png"] if wrong else [])}
    assert set(os.listdir(out)) == {*FILES, *written}
    assert all(name in said for name in written)


def test_mistakes_are_shown_as_the_images_are(trained, images):
    """The gallery shows pixels, not what normalising made of them."""
    run = Run.open(trained[0])
    test = run.test_part(progress=False)
    seen = run.as_seen(test).images
    for image, path in zip(seen, test.paths, strict=True):
        np.testing.assert_allclose(image, minidl.data.load_image(path), atol=1e-6)


def test_predict_in_json_with_several_guesses(trained, images):
    paths = sorted(map(str, (images / "test").rglob("*.png")))
    expected = Run.open(trained[0]).predict(paths)
    lines = call("predict", trained[0], images / "test", "--top", 2, "--json").splitlines()
    found = [json.loads(line) for line in lines]
    assert [f["image"] for f in found] == paths
    for f, given in zip(found, expected, strict=True):
        names = [g["class"] for g in f["guesses"]]
        assert sorted(names) == ["dark", "light"]
        values = [g["probability"] for g in f["guesses"]]
        np.testing.assert_allclose(values, sorted(given, reverse=True), rtol=1e-5)
        assert names[0] == ("dark" if given[0] > given[1] else "light")
    few = call("predict", trained[0], paths[0], "--top", 99).splitlines()
    assert len(few) == 3  # no more than there are classes
    assert "expected top an int >= 1, got 0" in call("predict", trained[0], "--top", 0, paths[0],
                                                     code=2)  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_in_json_are_those_of_the_files(trained, images, tmp_path, encoding):
    names = [os.fsdecode(name) for name in (b"caf\xc3\xa9.png", b"\xff.png")]
    for name in names:
        try:
            shutil.copy(images / "test" / "dark" / "0.png", tmp_path / name)
        except OSError:
            pytest.skip("this file system has no names that are no UTF-8")
    command = [sys.executable, "-m", "minidl", "predict", trained[0], tmp_path, "--json"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    found = {json.loads(line)["image"] for line in done.stdout.decode(encoding).splitlines()}
    assert found == {str(tmp_path / name) for name in names}


def test_predict_takes_folders(trained, images, tmp_path):
    (tmp_path / "empty").mkdir()
    said = call("predict", trained[0], images / "test" / "dark", tmp_path / "empty", code=2)
    assert said.count(".png") == 4
    assert "the folder holds no files" in said


def test_predict_brings_any_image_to_the_model(trained, tmp_path):
    cv2.imwrite(str(tmp_path / "gray.jpg"), np.full((31, 17), 250, np.uint8))
    (tmp_path / "bad.png").write_text("no image")
    output = call("predict", trained[0], tmp_path / "gray.jpg", tmp_path / "bad.png", code=2)
    assert "gray.jpg  light" in output
    assert "error: load_image" in output and "bad.png" in output


def test_a_grey_model_reads_colour_files_in_grey(images, tmp_path):
    out = tmp_path / "grey"
    call("train", "--data", images, "--gray", "--size", 6, *OPTIONS, "--out", out)
    assert Run.open(out).shape == (1, 6, 6)
    output = call("predict", out, next((images / "test" / "dark").iterdir()))
    assert "dark" in output


def test_resume_equals_the_run_that_never_stopped(trained, images, tmp_path):
    out = tmp_path / "two"
    short = [*OPTIONS]
    short[short.index("--epochs") + 1] = 1
    call("train", "--data", images, *short, "--out", out)
    call("train", "--resume", "--epochs", 3, "--quiet", "--out", out)
    weights = [load(folder / "model.safetensors", Run.open(folder).model).state_dict()
               for folder in (trained[0], out)]  # fmt: skip
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])
    assert json.loads((out / "config.json").read_text())["options"]["epochs"] == 3
    output = call("train", "--resume", "--lr", 0.5, "--out", out, code=2)
    assert "lr: was 0.01, is 0.5" in output
    first = call("train", "--data", images, *OPTIONS, "--out", tmp_path / "new", "--resume")
    assert "starts from the beginning" in first
    assert "test accuracy" in first


def test_a_class_folder_is_split_and_bad_files_are_named(tmp_path):
    folder = paint(tmp_path / "flat", count=10)
    (folder / "dark" / "broken.png").write_bytes(b"\x89PNG nothing")
    arguments = ("train", "--data", folder, *OPTIONS, "--validation", 0.25)
    output = call(*arguments, "--out", tmp_path / "a", code=2)
    assert "broken.png" in output and "error:" in output
    output = call(*arguments, "--out", tmp_path / "b", "--skip-bad", "--no-standardize")
    assert "15 images to train on, 5 to validate with, the same to test with" in output
    assert json.loads((tmp_path / "b" / "config.json").read_text())["data"]["normalize"] is None


def test_ctrl_c_says_how_to_go_on(images, tmp_path, monkeypatch):
    from minidl.train.loop import Loop

    real = Loop._one_step

    def interrupted(self, *batch):
        real(self, *batch)
        if self.session.step == 5:
            os.kill(os.getpid(), 2)

    monkeypatch.setattr(Loop, "_one_step", interrupted)
    out = tmp_path / "run"
    output = call("train", "--data", images, *OPTIONS, "--out", out, code=130)
    assert "stopped at step 6" in output and "--resume" in output
    assert len(History.from_csv(out / "history.csv")) == 6
    monkeypatch.undo()
    assert "test accuracy" in call("train", "--out", out, "--resume", "--quiet")


def test_a_diverging_run_says_what_to_do(images, tmp_path):
    out = tmp_path / "run"
    output = call(
        "train", "--data", images, *OPTIONS, "--init", "normal:1e20", "--out", out, code=2
    )
    assert "error: fit: " in output and "learning rate" in output
    assert sorted(os.listdir(out)) == FILES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "adm"], "'adm' is not one of"),
        (["--lr", "-0.1"], 'lr: expected a number above 0, or "auto", got -0.1'),
        (["--lr", "nan"], "lr: expected a number above 0"),
        (["--lr", "x"], "not a valid float"),
        (["--init", "he_norm"], "he_normal"),
        (["--init", "normal:x"], "normal:0.3"),
        (["--init", "nothing:1"], "normal:0.3"),
        (["--epochs", "0"], "epochs: expected an int of at least 1"),
        (["--batch-size", "0"], "batch-size"),
        (["--clip-norm", "0"], "clip-norm"),
        (["--validation", "1.5"], "between 0 and 1"),
        (["--seed", "-1"], "seed"),
        (["--data", "no-such-folder"], "there is no folder"),
        (["--data", ""], "data: expected a text that is not empty"),
        (["--data", "mnist", "--root", ""], "root: expected a text that is not empty"),
        (["--root", "."], "need no folder"),
        (["--size", "9"], "only with a folder"),
        (["--depth", "3"], "depth: expected only with the model deep_plain_cnn, got model article"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_bad_options(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in call("train", *options, code=2)
    assert not list(tmp_path.rglob("checkpoint"))
    assert not list(tmp_path.glob("runs/*"))


def test_a_full_folder_is_not_overwritten(trained, images, tmp_path):
    before = (trained[0] / "history.csv").read_bytes()
    output = call("train", "--data", images, "--out", trained[0], code=2)
    assert "is not empty" in output and "--resume" in output
    assert (trained[0] / "history.csv").read_bytes() == before
    (tmp_path / "file").write_text("")
    assert "is a file" in call("train", "--data", images, "--out", tmp_path / "file", code=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    output = call("train", "--data", images, "--out", tmp_path / "mine", "--resume", code=2)
    assert "is not empty" in output


def test_a_folder_that_is_no_run(tmp_path, trained):
    for path in (tmp_path, trained[0] / "model.safetensors"):
        assert "no run folder" in call("evaluate", path, code=2)
    copy = tmp_path / "copy"
    shutil.copytree(trained[0], copy)
    (copy / "config.json").write_text("{")
    assert "damaged" in call("evaluate", copy, code=2)
    (copy / "config.json").write_bytes((trained[0] / "config.json").read_bytes())
    (copy / "model.safetensors").write_bytes(b"1")
    assert "damaged" in call("evaluate", copy, code=2)


def test_datasets_are_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    output = call("datasets")
    for text in ("digits", "60,000 + 10,000", "fashion-mnist", "cifar10", str(tmp_path)):
        assert text in output


def test_python_m_and_a_missing_click():
    run = subprocess.run(
        [sys.executable, "-m", "minidl", "--version"], capture_output=True, text=True
    )
    assert run.returncode == 0 and minidl.__version__ in run.stdout
    code = "import sys; sys.modules['click'] = None; import runpy; runpy.run_module('minidl')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 2 and "pip install 'minidl[demos]'" in run.stderr


def command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=(), **options):
    """`minidl` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "minidl", *map(str, arguments)],
        stdout=stdout, stderr=stderr, env=os.environ | dict(env), timeout=120, **options,
    )  # fmt: skip


needs_posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX's")


@needs_posix
@pytest.mark.parametrize("broken", ["no reader", "full disk", "closed", "latin-1", "jupyter"])
def test_no_terminal_and_no_figure_fails_a_training(images, tmp_path, broken):
    options, opened = {}, None
    if broken == "no reader":
        reader, writer = os.pipe()
        os.close(reader)
        options["stdout"] = options["stderr"] = opened = writer
    elif broken == "full disk":
        if not os.path.exists("/dev/full"):
            pytest.skip("this system has no /dev/full")
        options["stdout"] = options["stderr"] = opened = os.open("/dev/full", os.O_WRONLY)
    elif broken == "closed":
        options["preexec_fn"] = lambda: (os.close(1), os.close(2))
    elif broken == "latin-1":
        options["env"] = {"PYTHONIOENCODING": "latin-1"}.items()
    else:
        options["env"] = {"MPLBACKEND": "module://no_such_backend"}.items()
    words = ["--data", images, "--model", "mlp", "--epochs", 2, "--batch-size", 4, "--lr", 0.3]
    done = command("train", *words, "--optimizer", "sgd", "--out", tmp_path / "run", **options)
    if opened is not None:
        os.close(opened)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in (done.stderr or b"")
    assert (tmp_path / "run" / "model.safetensors").exists()


@needs_posix
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_does_not_hang(trained, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(trained[0], copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    assert "no ordinary file" in call("evaluate", copy, code=2)


def test_paths_that_cannot_be_are_named(trained, images, tmp_path):
    long = tmp_path / ("y" * 400)
    (tmp_path / "file").write_text("")
    for words in (
        ("train", "--data", images, *OPTIONS, "--out", long),
        ("train", "--data", long, *OPTIONS, "--out", tmp_path / "a"),
        ("evaluate", long),
        ("doctor", "--data", images, "--model", "mlp", "--out", tmp_path / "file"),
    ):
        assert "error: " in call(*words, code=2)


def test_memory_that_does_not_suffice_is_an_error_in_words(trained, monkeypatch):
    def none(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("minidl.runs.run.load_data", none)
    assert "give a smaller --batch-size" in call("evaluate", trained[0], code=2)


def test_files_that_are_skipped_are_counted_and_named(tmp_path):
    folder = paint(tmp_path / "flat", count=8)
    for name in ("broken", "empty"):
        (folder / "dark" / f"{name}.png").write_bytes(b"")
    words = ("--data", folder, "--skip-bad", *OPTIONS, "--out", tmp_path / "run")
    output = call("train", *words)
    for text in ("files left out: 2", "broken.png", "empty.png"):
        assert text in output


def test_a_resumed_training_counts_its_own_steps(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained[0], copy)
    output = call("train", "--resume", "--epochs", 4, "--quiet", "--out", copy)
    [line] = [line for line in output.splitlines() if line.startswith("steps")]
    assert line.split()[1] == "4"


def test_a_second_training_into_a_folder_is_told(images, tmp_path):
    from minidl.train.lock import locked

    with locked(tmp_path / "run"):
        done = command("train", "--data", images, *OPTIONS, "--out", tmp_path / "run")
    assert done.returncode == 2 and b"is running already" in done.stderr


def test_the_cure_is_in_the_words_of_the_command_line(images, tmp_path):
    output = call(
        "train", "--data", images, *OPTIONS, "--optimizer", "sgd", "--lr", 1e30,
        "--out", tmp_path / "run", code=2,
    )  # fmt: skip
    assert "The gradient doctor says" in output or "give a smaller --lr" in output
    assert "init='he_normal'" not in output and "md.health" not in output
