"""Numbers that misbehave: each is refused with its place, or does what one would expect."""

import numpy as np
import pytest

import minidl as md
from minidl import data, nn, optim
from minidl.errors import DataError, DTypeError, GradientError, ShapeError

RNG = np.random.default_rng(0)
IMAGES = RNG.random((9, 1, 4, 4), dtype=np.float32)
LABELS = np.arange(9) % 3


def trainer(*layers, lr=0.01, seed=0):
    md.manual_seed(seed)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Dense(16, 3))
    return md.Trainer(model, optimizer=optim.SGD(model.parameters(), lr), seed=seed)


def fit(one, images=IMAGES, labels=LABELS, **options):
    options = {"epochs": 1, "batch_size": 4, "progress": False} | options
    return one.fit((images, labels), **options)


def test_nan_and_infinity_are_named_with_their_images_and_counts():
    images = IMAGES.copy()
    images[3, 0, 0, :2] = np.nan
    images[5, 0, 1, 1] = -np.inf
    with pytest.raises(
        DataError, match=r"2 of 9 images: image 3 \(2 pixel values\), image 5 \(1 pixel values\);"
    ):
        fit(trainer(), images)
    images[:] = np.inf
    with pytest.raises(DataError, match=r"9 of 9 images: .*image 4 \(16 pixel values\), \.\.\.;"):
        data.Dataset(images, LABELS)


def test_a_file_of_nan_is_named(tmp_path):
    cv2 = pytest.importorskip("cv2")
    for name in "ab":
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), np.zeros((4, 4), np.uint8))
    pixels = np.ones((4, 4, 3), np.float32)
    pixels[0] = np.nan
    cv2.imwrite(str(tmp_path / "a" / "bad.tif"), pixels)
    with pytest.raises(
        DataError, match=r"bad\.tif: .*float32 values \(12 of them NaN or infinite\), but 8"
    ):
        data.ImageFolder(tmp_path)


def test_constant_images_are_not_divided_by_zero():
    constant = np.full((4, 2, 3, 3), 0.1, np.float32)
    constant[:, 0] = RNG.random((4, 3, 3))
    with pytest.raises(DataError, match=r"channel 1 .* is constant; .*--no-standardize"):
        data.standardize(constant)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_almost_constant_images_stay_finite(dtype):
    images = np.full((4, 1, 3, 3), 0.1, dtype)
    images[0, 0, 0, 0] = np.nextafter(dtype(0.1), dtype(1))
    with np.errstate(all="raise"):
        assert np.isfinite(data.standardize(images)(images)).all()


def test_a_batch_of_one_goes_through_batch_norm_where_it_has_pixels():
    norm = nn.BatchNorm2d(1)
    y = norm(IMAGES[:1]).numpy()
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-3)
    # One value per channel has no variance; PyTorch refuses it too.
    with pytest.raises(ShapeError, match=r"two or more values per channel.*batch_size"):
        nn.BatchNorm2d(16)(IMAGES[:1].reshape(1, 16, 1, 1))
    assert norm.eval()(IMAGES[:1, :, :1, :1]).shape == (1, 1, 1, 1)
    history = fit(trainer(nn.BatchNorm2d(1)))  # the last batch holds one image
    assert np.isfinite(history.steps["loss"]).all() and len(history) == 3


def test_a_smaller_last_batch_counts_by_its_images():
    one = trainer(lr=1e-30)  # the weights stay, so that each loss can be computed again
    history = fit(one, batch_size=7)
    assert len(history) == 2
    whole = one.evaluate((IMAGES, LABELS))
    assert history.last["train_loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert history.last["train_accuracy"] == pytest.approx(whole["accuracy"])


def test_labels_missing_from_the_training_part_are_named_before_training():
    train = data.Dataset(IMAGES, LABELS % 2, ["cat", "dog", "owl"])
    validation = data.Dataset(IMAGES, LABELS, ["cat", "dog", "owl"])
    one = trainer()
    with pytest.raises(DataError, match=r"3 of 9 validation images .* training part: owl;"):
        one.fit(train, validation=validation, epochs=1, batch_size=4, progress=False)
    assert len(one.history) == 0
    fit(one, validation=(IMAGES[:3], [0, 0, 0]))  # fewer labels than in training are fine


@pytest.mark.host  # on a GPU to look at the labels would be to wait: their loss is NaN
def test_labels_beyond_the_outputs_are_named():
    one = trainer()
    with pytest.raises(DataError, match=r"labels in 0\.\.2 .* got [34]"):
        fit(one, labels=np.arange(9) % 5)


def test_float64_images_train_a_float32_model_and_a_float64_one():
    first, second = trainer(), trainer()
    fit(first)
    fit(second, IMAGES.astype(np.float64))
    for a, b in zip(first.parameters, second.parameters, strict=True):
        assert b.dtype == np.float32
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    huge = IMAGES.astype(np.float64)
    huge[7] = 1e300
    for use in (fit, lambda one, images: one.predict(images)):
        with pytest.raises(DataError, match=r"within float32, .* values up to 1e\+300"):
            use(trainer(), huge)
    wide = trainer()
    for p in wide.parameters:
        p.data = p.data.astype(np.float64)
    assert np.isfinite(fit(wide, huge * 1e-295).steps["loss"]).all()
    assert all(p.dtype == np.float64 for p in wide.parameters)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES.astype(np.float16), r"got float16; images\.astype\(np\.float32\)"),
        ((IMAGES * 255).astype(np.uint8), r"got uint8; md\.data\.scale"),
    ],
)
def test_images_of_other_types_say_how_they_become_float32(images, words):
    with pytest.raises(DTypeError, match=words):
        fit(trainer(), images)
    with pytest.raises(DTypeError, match=words):
        data.standardize(images)


def test_a_loss_that_is_not_finite_names_the_doctor():
    with pytest.raises(GradientError, match=r"(?s)the loss is .*The source: .*md\.health\.doctor"):
        fit(trainer(nn.ReLU(), lr=1e38), epochs=9)
