import contextlib
import json
import os
import shutil

import numpy as np
import pytest

import minidl
from minidl import runs
from minidl.errors import CheckpointError, ConfigError, DataError, GradientError
from minidl.runs import Config, Run
from minidl.runs.config import MODELS, OPTIMIZERS


@pytest.fixture
def images(tmp_path):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{i}.png"), pixels)
    return tmp_path / "images"


def test_a_full_or_read_only_disk_is_found_before_training(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(CheckpointError, match="free some space"):
        runs.train(Config(data=str(images), model="mlp"), tmp_path / "a", progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        runs.train(Config(data=str(images)), tmp_path / "file" / "a", progress=False)


def test_several_seeds_share_their_test_images(images, tmp_path):
    config = Config(data=str(images), model="mlp", epochs=1, batch_size=4, lr=0.01)
    results = runs.train_seeds(config, [0, 1], tmp_path / "out", progress=False)
    assert sorted(os.listdir(tmp_path / "out")) == ["seed-0", "seed-1"]
    losses = [result.history.steps["loss"] for result in results]
    assert (losses[0] != losses[1]).any()
    first, second = (runs.load_data(r.config, progress=False).test.images for r in results)
    np.testing.assert_array_equal(first, second)
    for result in results:
        assert result.test == Run.open(result.out).evaluate(progress=False)


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_explodes_keeps_its_weights_and_says_what_the_doctor_says(
    images, tmp_path, kept
):
    config = Config(data=str(images), model="mlp", optimizer="sgd", lr=1e8, epochs=3, batch_size=4)
    out = tmp_path / "out" if kept else None
    with pytest.raises(GradientError) as caught:
        runs.train(config, out, progress=False)
    text = str(caught.value)
    assert "The source: the forward pass of" in text
    assert f"The gradient doctor says of the {'weights that' if kept else 'first weights'}" in text
    assert "will diverge\n  update-ratio" in text and "-> lower the learning rate to about" in text
    if kept:
        weights = Run.open(out).model.state_dict()
        first = config.build_model((3, 8, 8), 2).state_dict()
        for name, array in weights.items():
            np.testing.assert_array_equal(array, first[name])


@pytest.mark.filterwarnings("ignore:overflow|invalid value")
def test_a_run_that_explodes_in_its_first_step_has_no_weights_to_keep(images, tmp_path):
    config = Config(data=str(images), model="mlp", init="normal:3e38", epochs=1, batch_size=4)
    with pytest.raises(GradientError, match="expected finite weights, got NaN or infinity"):
        runs.train(config, tmp_path / "out", progress=False, doctor=False)


def test_runs_repeat_bit_for_bit_and_seeds_differ(images, tmp_path):
    options = {"data": str(images), "model": "vgg_small", "augment": "crop-flip", "batch_size": 8}
    config = Config(**options, epochs=2)
    once, again = (runs.train(config, tmp_path / n, progress=False) for n in ("once", "again"))
    other = runs.train(Config(**options, epochs=2, seed=1), tmp_path / "other", progress=False)
    content = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("once", "again")]
    assert content[0] == content[1] != (tmp_path / "other" / "model.safetensors").read_bytes()
    assert (once.history.steps["loss"] != other.history.steps["loss"]).all()
    for name, column in once.history.steps.items():
        np.testing.assert_array_equal(column, again.history.steps[name])
    facts = json.loads((tmp_path / "other" / "config.json").read_text())
    assert facts["options"]["seed"] == 1
    assert {"minidl", "numpy", "python"} <= set(facts["versions"])
    assert {"platform", "processor", "cpus"} <= set(facts["machine"])


def paint(folder, seed=0, count=10):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(seed)
    for name, low in (("dark", 0), ("light", 150)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"s{seed}-{i}.png"), pixels)


SMALL = {"model": "mlp", "epochs": 1, "batch_size": 4, "lr": 0.01}


def nothing_none(value):
    if isinstance(value, dict):
        return all(map(nothing_none, value.values()))
    return value is not None


def test_the_whole_recipe_is_kept_with_the_values_that_were_used(images, tmp_path):
    options = SMALL | {"optimizer": "momentum", "clip_norm": 2.0, "augment": "crop"}
    runs.train(Config(data=str(images), **options), tmp_path / "run", progress=False)
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert nothing_none(content["options"]) and nothing_none(content["recipe"])
    recipe = content["recipe"]
    assert recipe["optimizer"]["momentum"] == 0.9 and recipe["optimizer"]["nesterov"] is False
    assert recipe["clip"] == "RunClip(value=None, norm=2.0)"
    assert "cosine" in recipe["schedule"] and "random_crop" in recipe["augmentation"]
    assert recipe["model"]["1"]["name"] == "Dense" and recipe["split"]["seed"] == 0
    assert content["options"]["standardize"] is True and content["options"]["lr"] == 0.01


def test_a_run_is_resumed_with_its_own_data_alone(images, tmp_path):
    config, out = Config(data=str(images), **SMALL), tmp_path / "run"
    runs.train(config, out, progress=False)
    more = Config(data=str(images), **SMALL | {"epochs": 2})
    before = (out / "model.safetensors").read_bytes(), (out / "config.json").read_bytes()
    paint(images, seed=7, count=1)
    with pytest.raises(CheckpointError, match=r"images and labels train: was .*, is"):
        runs.train(more, out, resume=True, progress=False)
    for name in ("dark", "light"):
        (images / name / "s7-0.png").unlink()
    os.rename(images / "dark", images / "murky")
    with pytest.raises(CheckpointError, match="classes: was dark, light, is light, murky"):
        runs.train(more, out, resume=True, progress=False)
    assert before == ((out / "model.safetensors").read_bytes(), (out / "config.json").read_bytes())
    os.rename(images / "murky", images / "dark")
    result = runs.train(more, out, resume=True, progress=False)
    assert len(result.history) == 2 * result.steps == 8


def test_a_run_finds_its_data_in_another_place(images, tmp_path):
    out, moved = tmp_path / "run", tmp_path / "moved"
    runs.train(Config(data=str(images), **SMALL), out, progress=False)
    shutil.move(images, moved)
    with pytest.raises(ConfigError, match="there is no folder"):
        runs.train(Config(data=str(images), **SMALL), out, resume=True, progress=False)
    more = Config(data=str(moved), **SMALL | {"epochs": 2})
    facts = json.loads((out / "config.json").read_text())
    without = facts | {"data": facts["data"] | {"digests": {}}}
    (out / "config.json").write_text(json.dumps(without))
    with pytest.raises(ConfigError, match="data: was"):  # nothing tells that they are the same
        runs.train(more, out, resume=True, progress=False)
    (out / "config.json").write_text(json.dumps(facts))
    result = runs.train(more, out, resume=True, progress=False)
    assert len(result.history) == 2 * result.steps == 8
    assert Run.open(out).evaluate(progress=False) == result.test


def test_other_classes_are_not_measured(images, tmp_path):
    runs.train(Config(data=str(images), **SMALL), tmp_path / "run", progress=False)
    os.rename(images / "light", images / "a-light")
    with pytest.raises(DataError, match=r"learned the classes dark, light, but .* a-light, dark"):
        Run.open(tmp_path / "run").evaluate(progress=False)


def test_test_images_that_were_trained_on_are_told(images, tmp_path):
    plain = Config(data=str(images), standardize=False)
    runs.train(Config(data=str(images), **SMALL), tmp_path / "run", progress=False)
    learned = {image.tobytes() for image in runs.load_data(plain, progress=False).train.images}
    said = []
    Run.open(tmp_path / "run").evaluate(progress=False, say=said.append)
    assert said == []
    paint(images, seed=8, count=9)  # other images are held out now
    Run.open(tmp_path / "run").evaluate(progress=False, say=said.append)
    test = runs.load_data(plain, progress=False).test.images
    seen = sum(image.tobytes() in learned for image in test)
    assert seen and said[0].startswith(f"{seen} of {len(test)} test images were trained on")


def test_figures_that_cannot_be_drawn_lose_no_run(images, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no canvas")

    monkeypatch.setattr(runs.training.plot, "curves", fail)
    said = []
    outcome = runs.train(
        Config(data=str(images), **SMALL), tmp_path / "run", progress=False, say=said.append
    )
    assert outcome.figures == [] and "no figures: no canvas" in said
    assert outcome.test == Run.open(tmp_path / "run").evaluate(progress=False)


def test_the_doctor_is_heard_before_the_first_step(images, tmp_path):
    said = []
    config = Config(data=str(images), **SMALL | {"optimizer": "sgd", "lr": 30.0})
    with contextlib.suppress(GradientError):
        runs.train(config, progress=False, say=said.append)
    [advice] = [text for text in said if "the gradient doctor says before training" in text]
    assert "lower the learning rate" in advice
    quiet = []
    runs.train(Config(data=str(images), **SMALL | {"lr": None}), progress=False, say=quiet.append)
    assert not [text for text in quiet if "doctor says" in text]


def smooth(count=256):
    """Colour images of four classes, smooth as photographs are."""
    rng = np.random.default_rng(1)
    labels = np.arange(count) % 4
    coarse = (rng.random((4, 3, 4, 4))[labels] + rng.random((count, 3, 4, 4))) / 2
    return coarse.repeat(4, 2).repeat(4, 3).astype(np.float32), labels


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", ["digits", "cifar10", "folder"])
def test_the_defaults_pass_the_doctor(model, data):
    images, labels = smooth(64)
    if data == "digits":
        pytest.importorskip("sklearn", reason="scikit-learn holds the digits")
        digits = minidl.data.digits()
        images, labels = digits.images[:64], digits.labels[:64]
    config = Config(data=data, model=model)
    if config.standardizes:
        images = minidl.data.standardize(images)(images)
    network = config.build_model(images.shape[1:], 10)
    found = minidl.health.doctor(network, (images, labels), config.build_optimizer(network))
    assert found.verdict == "healthy", found.findings


@pytest.mark.parametrize("optimizer", [None, *OPTIMIZERS])
@pytest.mark.parametrize("model", ["article", "mlp"])
def test_the_default_rates_do_not_multiply_the_loss(model, optimizer):
    data = smooth()
    config = Config(data="cifar10", model=model, optimizer=optimizer)
    network = config.build_model((3, 16, 16), 4)
    trainer = minidl.Trainer(network, optimizer=config.build_optimizer(network), seed=0)
    losses = trainer.fit(data, epochs=3, batch_size=64, progress=False).steps["loss"]
    assert losses.max() < 2 * losses[0]
    assert losses[-1] < losses[0]


def test_a_run_whose_answers_are_no_numbers_is_told(images, tmp_path):
    config = Config(data=str(images), model="mlp", epochs=1, batch_size=4, lr=0.01)
    runs.train(config, tmp_path / "out", progress=False, doctor=False, figures=False)
    opened = Run.open(tmp_path / "out")
    next(iter(opened.model.parameters())).data[...] = np.nan
    with pytest.raises(DataError, match="predict: expected finite probabilities"):
        opened.predict([images / "dark/0.png"])
    with pytest.raises(DataError, match=r"from 0 to 1, got .*nan"):
        opened.results(opened.test_part(progress=False))


def test_channels_that_do_not_fit_each_other_are_found_when_a_run_is_opened(images, tmp_path):
    config = Config(data=str(images), model="mlp", epochs=1, batch_size=4, lr=0.01)
    runs.train(config, tmp_path / "out", progress=False, doctor=False, figures=False)
    path = tmp_path / "out/config.json"
    content = json.loads(path.read_text())
    content["data"]["normalize"] = {"mean": [0, 0], "std": [1, 1]}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="normalize for 2 channels, images of 3"):
        Run.open(tmp_path / "out")
    content["options"]["lr"] = -1.0
    content["data"]["normalize"] = None
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"cannot use .*config.json': lr: expected"):
        Run.open(tmp_path / "out")


@pytest.mark.parametrize("value", [[], {}, "", 0, False, "mean"])
def test_a_normalisation_that_is_none_is_damage(images, tmp_path, value):
    config = Config(data=str(images), model="mlp", epochs=1, batch_size=4, lr=0.01)
    runs.train(config, tmp_path / "out", progress=False, doctor=False, figures=False)
    path = tmp_path / "out/config.json"
    content = json.loads(path.read_text())
    content["data"]["normalize"] = value
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="damaged"):
        Run.open(tmp_path / "out")
