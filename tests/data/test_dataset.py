"""Dataset: images with labels, any other arrays, and what is refused in words."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.data import (
    DataLoader,
    Dataset,
    compose,
    normalize,
    random_crop,
    random_flip,
    resize,
)
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
        (np.float32(3.0), [0, 1], DataError, "at least one image"),
        (np.ones((2, 784), np.uint8), [0, 1], DTypeError, r"uint8; md.data.scale"),
        (np.ones((2, 4), complex), [0, 1], DTypeError, "complex128"),
        (np.ones((2, 28, 28, 1)), [0, 1], ShapeError, r"transpose\(0, 3, 1, 2\)"),
        (np.ones((2, 20, 30, 3)), [0, 1], ShapeError, r"looks like \(N, H, W, C\)"),
        (np.ones((2, 9, 8, 4)), [0, 1], ShapeError, "looks like"),
        (np.ones((0, 1, 2, 2)), [], DataError, "at least one image"),
        (np.ones((2, 1, 2, 2)), [0], ShapeError, r"shape \(2,\), got shape \(1,\)"),
        (np.ones((2, 1, 2, 2)), 1, ShapeError, r"got shape \(\)"),
        (np.ones((2, 1, 2, 2)), [[0, 1]], ShapeError, r"got shape \(1, 2\)"),
        (np.ones((2, 1, 2, 2)), ["cat", "dog"], DTypeError, "numbers"),
        (np.ones((2, 1, 2, 2)), np.array(["cat", "dog"]), DTypeError, "return_inverse"),
        (np.ones((2, 1, 2, 2)), np.ma.array([0, 1], mask=[0, 1]), DTypeError, r"filled\(0\)"),
        (np.ma.ones((2, 3)), [0, 1], DTypeError, r"images\).*without a mask"),
        (np.ones((2, 3)), [0.5, np.nan], DataError, r"target 1 \(1 values\)"),
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


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "half", None])
def test_split_refuses_other_fractions(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        make().split(fraction)


def test_split_refuses_a_negative_seed():
    with pytest.raises(ConfigError, match="seed"):
        make().split(0.5, seed=-1)


def rows(count, *shape, dtype=np.float32):
    return np.arange(count * int(np.prod(shape)), dtype=dtype).reshape(count, *shape)


@pytest.mark.parametrize(
    "images, labels",
    [
        (rows(6, 2), rows(6, dtype=np.float64)),  # numbers to predict from points in a plane
        (rows(6), rows(6, 1)),
        (rows(6, 3, 5), rows(6, 5)),  # sequences
        (rows(6, 9, dtype=np.int32), rows(6, 9, dtype=np.int16)),  # numbers of words
        (rows(6, 1, 4, 4), rows(6, 1, 4, 4)),  # an image whose target is the image
        (rows(6, 2, 3, 4, 5), rows(6, 4, 5, dtype=np.uint8)),
    ],
)
def test_any_arrays_row_by_row(images, labels):
    data = Dataset(images, labels, name="any")
    assert data.images is images and data.labels is labels and data.classes == ()
    x, y = data[4]
    np.testing.assert_array_equal(x, images[4])
    np.testing.assert_array_equal(y, labels[4])
    some = data[[5, 0]]
    assert isinstance(some, Dataset) and some.labels.dtype == labels.dtype and len(some) == 2
    np.testing.assert_array_equal(some.labels, labels[[5, 0]])
    rest, held = data.split(0.5, seed=3)
    assert len(rest) == len(held) == 3
    both = np.concatenate([rest.images, held.images])
    np.testing.assert_array_equal(np.sort(both, axis=0), images)
    assert len(list(data)) == 6 and "targets" in repr(data)
    batches = list(DataLoader(data, 4, shuffle=True))
    assert [len(y) for _, y in batches] == [4, 2]
    found = np.concatenate([y for _, y in batches])
    np.testing.assert_array_equal(np.sort(found, axis=0), labels)
    assert [len(y) for _, y in DataLoader(data, 4, drop_last=True)] == [4]
    with pytest.raises(DataError, match="classes only with class labels"):
        Dataset(images, labels, ["a", "b"])


def test_truths_are_class_labels():
    data = Dataset(rows(3, 2), [True, False, True], ["no", "yes"])
    assert data.labels.tolist() == [1, 0, 1] and data.labels.dtype == np.int64


def test_arrays_of_other_libraries():
    x = rows(4, 3)
    tensor = Dataset(md.tensor(x), md.tensor([0, 1, 1, 0], dtype="int64"))
    np.testing.assert_array_equal(tensor.images, x)
    assert Dataset([[1.0, 2.0], [3.0, 4.0]], (0, 1)).images.shape == (2, 2)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, index=[7, 8, 9, 10])
    data = Dataset(frame, pandas.Series([2, 0, 1, 1], index=[7, 8, 9, 10]))
    np.testing.assert_array_equal(data.images, x)
    assert data.labels.tolist() == [2, 0, 1, 1]


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    data = Dataset(torch.ones(2, 3), torch.tensor([1, 0]))
    assert data.images.dtype == np.float32 and data.labels.tolist() == [1, 0]
    with pytest.raises(DTypeError, match="requires grad"):
        Dataset(torch.ones(2, 3, requires_grad=True), [0, 1])


def test_sparse_matrices_are_refused_in_words():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DTypeError, match=r"toarray\(\)"):
        Dataset(sparse.eye(3).tocsr(), [0, 1, 2])


def test_a_notebook_shows_the_counts():
    html = make(classes=["<a>", "b", "c"])._repr_html_()
    assert "6 images (1, 2, 2) float32" in html and "&lt;a&gt;: 2, b: 2, c: 2" in html
    assert "targets" in Dataset(rows(2, 3), rows(2, 3))._repr_html_()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(copied):
    transform = compose(random_crop(2, padding=1), random_flip(0.5), resize(3), normalize(0.5, 2.0))
    loader = DataLoader(make(), 4, shuffle=True, seed=5, transform=transform)
    again = copied(loader)
    assert repr(again) == repr(loader) and "2 batches of 4, shuffled" in repr(loader)
    assert repr(again.transform) == repr(transform)
    for (x, y), (x2, y2) in zip(loader, again, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    one = copied(make(classes=["a", "b", "c"]))
    assert one.classes == ("a", "b", "c") and one.name == "toy"
    np.testing.assert_array_equal(one.images, make().images)


def test_numpy_integers_are_integers():
    crop = random_crop(np.int64(2), padding=np.uint8(1))
    assert crop(make().images, np.random.default_rng(np.int64(1))).shape == (6, 1, 2, 2)
    loader = DataLoader(make(), np.int32(4), seed=np.int64(3), drop_last=np.True_)
    assert len(loader) == 1 and make()[np.int64(2)][1] == 2
    assert resize((np.int16(3), np.int8(4)))(make().images).shape == (6, 1, 3, 4)
    for wrong in (-1, 1.0, True, "1"):
        with pytest.raises(ConfigError, match="random_crop: expected padding"):
            random_crop(2, padding=wrong)


def test_large_whole_numbers_are_no_classes():
    prices = Dataset(np.zeros((3, 2)), [250_000, 2_000_000_000, 0])
    assert prices.classes == () and prices.labels.dtype == np.int64
    assert len(Dataset(np.zeros((2, 2)), [0, 99_999]).classes) == 100_000
    assert len(prices.split(0.4)[1]) == 1


def test_labels_beyond_the_integers_of_64_bits_are_refused_with_their_value():
    labels = np.full(4, 2**64 - 1, np.uint64)
    with pytest.raises(DataError, match=r"labels of at most 9223372036854775807, got 1844674"):
        md.data.Dataset(np.zeros((4, 1, 2, 2), "f"), labels)
    small = md.data.Dataset(np.zeros((4, 1, 2, 2), "f"), np.arange(4, dtype=np.uint64))
    assert small.labels.dtype == np.int64
