import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import Dataset, normalize
from minidl.errors import ConfigError, DataError, DTypeError, ShapeError


def make(count=6, classes=None, dtype=np.float32):
    images = np.arange(count * 4, dtype=dtype).reshape(count, 1, 2, 2)
    return Dataset(images, np.arange(count) % 3, classes, "toy")


def test_keeps_the_images_and_makes_labels_int64():
    images = np.ones((2, 1, 2, 2))
    data = Dataset(images, [1, 0])
    assert data.images is images and data.labels.dtype == np.int64
    assert data.classes == ("0", "1") and len(data) == 2
    assert "toy: 6 images (1, 2, 2) float32, 3 classes" in repr(make())


def test_classes_without_images_are_kept():
    assert make(classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    "images, labels, error, reason",
    [
        (np.ones((2, 1, 2, 2), np.uint8), [0, 1], DTypeError, r"uint8; md.data.scale"),
        (np.ones((2, 1, 2, 2), np.float16), [0, 1], DTypeError, "float16"),
        (np.ones((2, 2, 2)), [0, 1], ShapeError, r"\(N, C, H, W\), got \(2, 2, 2\)"),
        (np.ones((0, 1, 2, 2)), [], DataError, "at least one image"),
        (np.ones((2, 1, 2, 2)), [0], ShapeError, r"shape \(2,\), got shape \(1,\)"),
        (np.ones((2, 1, 2, 2)), [[0], [1]], ShapeError, r"got shape \(2, 1\)"),
        (np.ones((2, 1, 2, 2)), [0.0, 1.0], DTypeError, "float64"),
        (np.ones((2, 1, 2, 2)), [True, False], DTypeError, "bool"),
        (np.ones((2, 1, 2, 2)), [0, -1], DataError, "labels from -1 to 0"),
    ],
)
def test_refusals(images, labels, error, reason):
    with pytest.raises(error, match=reason):
        Dataset(images, labels)


def test_a_label_without_a_class_is_refused():
    with pytest.raises(DataError, match=r"from 0 to 1 .* got labels from 0 to 2"):
        make(classes=["a", "b"])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted_and_found(poison):
    images = np.ones((5, 1, 2, 2), np.float32)
    images[[2, 4], 0, 1, 1] = poison
    with pytest.raises(DataError, match=r"in 2 of 5 images: image 2 \(1 pixel values\), image 4"):
        Dataset(images, np.zeros(5, int))


def test_opposite_infinities_are_found_and_large_finite_values_pass():
    images = np.full((2, 1, 2, 2), 3e38, np.float32)
    Dataset(images, [0, 0])
    images[0, 0, 0] = np.inf, -np.inf
    with pytest.raises(DataError, match="in 1 of 2"):
        Dataset(images, [0, 0])


def test_indexing():
    data = make()
    image, label = data[4]
    assert label == 1 and type(label) is int
    np.testing.assert_array_equal(image, data.images[4])
    assert data[-1][1] == 2
    for index in (
        slice(1, 5, 2),
        [1, 3],
        np.array([1, 3]),
        np.arange(6) % 2 * (np.arange(6) < 5) > 0,
    ):
        part = data[index]
        assert isinstance(part, Dataset) and part.classes == data.classes and part.name == "toy"
        np.testing.assert_array_equal(part.images, data.images[[1, 3]])
        np.testing.assert_array_equal(part.labels, data.labels[[1, 3]])
    assert [label for _, label in data] == data.labels.tolist()


@pytest.mark.parametrize("index", [6, -7, [0, 9], "a", 1.5, slice(3, 3), np.ones(5, bool)])
def test_impossible_indices(index):
    with pytest.raises(DataError):
        make()[index]


def test_map_keeps_labels_and_classes():
    data = make(dtype=np.float64)
    mapped = data.map(normalize(2.0, 4.0))
    np.testing.assert_allclose(mapped.images, (data.images - 2) / 4)
    assert mapped.images.dtype == np.float64 and mapped.labels is not None
    np.testing.assert_array_equal(mapped.labels, data.labels)


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**40),
)
def test_split_is_a_stratified_partition(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    total = len(labels)
    data = Dataset(np.arange(total, dtype=np.float64).reshape(-1, 1, 1, 1), labels)
    if round(fraction * total) in (0, total):
        with pytest.raises(DataError, match="leaves one part empty"):
            data.split(fraction, seed)
        return
    rest, held = data.split(fraction, seed)
    assert len(held) == round(fraction * total)
    numbers = [part.images.ravel().tolist() for part in (rest, held)]
    assert numbers[0] == sorted(numbers[0]) and numbers[1] == sorted(numbers[1])
    assert sorted(numbers[0] + numbers[1]) == list(range(total))
    share = len(held) / total
    for label, count in enumerate(counts):
        assert abs((held.labels == label).sum() - share * count) <= 1
    np.testing.assert_array_equal(data.split(fraction, seed)[1].images, held.images)


def test_split_depends_on_the_seed_and_draws_within_a_class():
    data = Dataset(np.arange(100.0).reshape(-1, 1, 1, 1), np.zeros(100, int))
    first, second = (data.split(0.3, seed)[1].images.ravel() for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_refuses_other_fractions(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        make().split(fraction)


def test_split_refuses_a_negative_seed():
    with pytest.raises(ConfigError, match="seed"):
        make().split(0.5, seed=-1)
