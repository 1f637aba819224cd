import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import DataLoader, Dataset, compose, normalize, random_crop, random_flip
from minidl.errors import ConfigError

AUGMENT = compose(random_crop(4, padding=2), random_flip())


def make(count=10, dtype=np.float32):
    images = np.arange(count * 16, dtype=dtype).reshape(count, 1, 4, 4)
    return Dataset(images, np.arange(count) % 2)


def numbers(batches):
    return [images[:, 0, 0, 0].astype(int).tolist() for images, _ in batches]


def test_in_order_without_shuffle_and_the_last_batch_is_smaller():
    loader = DataLoader(make(), 4)
    batches = list(loader)
    assert len(loader) == 3 and [len(labels) for _, labels in batches] == [4, 4, 2]
    images, labels = batches[1]
    np.testing.assert_array_equal(images, make().images[4:8])
    np.testing.assert_array_equal(labels, [0, 1, 0, 1])
    assert labels.dtype == np.int64


def test_drop_last():
    loader = DataLoader(make(), 4, drop_last=True)
    assert len(loader) == 2 and [len(labels) for _, labels in loader] == [4, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_dtype_and_hands_out_copies(dtype):
    data = make(dtype=dtype)
    for images, _ in DataLoader(data, 4):
        assert images.dtype == dtype
        images[:] = -1
    assert (data.images >= 0).all()


def test_each_epoch_is_a_new_permutation_that_the_seed_fixes():
    loader = DataLoader(make(), 4, shuffle=True, seed=3)
    epochs = [numbers(loader) for _ in range(3)]
    assert loader.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2]
    for epoch in epochs:
        assert sorted(number for batch in epoch for number in batch) == [16 * i for i in range(10)]
    again = DataLoader(make(), 4, shuffle=True, seed=3)
    again.epoch = 2
    assert numbers(again) == epochs[2]
    assert numbers(DataLoader(make(), 4, shuffle=True, seed=4)) != epochs[0]


def test_labels_follow_their_images():
    for images, labels in DataLoader(make(), 3, shuffle=True):
        np.testing.assert_array_equal(images[:, 0, 0, 0] // 16 % 2, labels)


@given(
    count=st.integers(1, 20),
    batch_size=st.integers(1, 8),
    seed=st.integers(0, 2**70),
    epoch=st.integers(0, 2**33),
    data=st.data(),
)
def test_an_epoch_can_be_resumed_anywhere_with_augmentation(count, batch_size, seed, epoch, data):
    def loader():
        made = DataLoader(make(count), batch_size, shuffle=True, seed=seed, transform=AUGMENT)
        made.epoch = epoch
        return made

    whole, resumed = loader(), loader()
    start = data.draw(st.integers(0, len(whole)))
    expected, found = list(whole)[start:], list(resumed.iterate(start))
    assert len(found) == len(expected)
    for (images, labels), (images_again, labels_again) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)
    assert whole.epoch == resumed.epoch == epoch + 1


def test_an_iteration_that_breaks_off_does_not_count():
    loader = DataLoader(make(), 4)
    for _ in loader:
        break
    assert loader.epoch == 0


def test_random_numbers_differ_between_batches_epochs_and_seeds():
    def draws(seed):
        def noise(images, generator):
            return generator.random(images.shape)

        noise.random = True
        loader = DataLoader(make(4), 2, seed=seed, transform=noise)
        return [images for _ in range(2) for images, _ in loader]

    seen = draws(0) + draws(1)
    assert len({images.tobytes() for images in seen}) == 8


def test_a_plain_function_gets_the_images_alone():
    (images, _), *_ = DataLoader(make(), 4, transform=lambda images: images + 1)
    assert images[0, 0, 0, 0] == 1


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"batch_size": 0}, "batch_size as an int at least 1, got 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 11, "drop_last": True}, "leaves no batch of 10 images"),
        ({"batch_size": 2, "seed": -1}, "seed"),
        ({"batch_size": 2, "seed": "x"}, "seed"),
    ],
)
def test_refusals(arguments, reason):
    with pytest.raises(ConfigError, match=reason):
        DataLoader(make(), **arguments)


def test_refuses_arrays_and_impossible_starts():
    with pytest.raises(ConfigError, match="expected a Dataset, got ndarray"):
        DataLoader(np.ones((2, 1, 2, 2)), 2)
    loader = DataLoader(make(), 4)
    with pytest.raises(ConfigError, match="start_batch as an int from 0 to 3, got 4"):
        loader.iterate(4)
    loader.epoch = -1
    with pytest.raises(ConfigError, match="epoch"):
        iter(loader)


def test_a_pair_of_arrays_is_a_dataset():
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    batches = list(DataLoader((x, y), 4))
    np.testing.assert_array_equal(batches[1][0], x[4:])
    np.testing.assert_array_equal(batches[1][1], y[4:])


def test_processes_that_share_a_batch_get_its_images_between_them():
    images = np.random.default_rng(0).random((11, 1, 6, 6), dtype=np.float32)
    dataset = Dataset(images, np.arange(11) % 2)
    jitter = random_crop(6, padding=2)

    def contrast(batch, generator):  # looks at the whole batch
        return (batch - batch.mean()) * generator.random(2).sum(dtype=np.float32)

    contrast.random = True
    for transform in (None, compose(jitter, random_flip()), contrast,
                      compose(jitter, contrast), normalize(0.5, 2.0)):  # fmt: skip
        options = {"shuffle": True, "seed": 4, "transform": transform}
        whole = DataLoader(dataset, 4, **options)
        parts = [DataLoader(dataset, 4, **options) for _ in range(2)]
        parts[0].rows, parts[1].rows = (lambda n: slice(0, n // 2)), (lambda n: slice(n // 2, n))
        for (x, labels), (a, one), (b, two) in zip(whole, *parts, strict=True):
            np.testing.assert_array_equal(np.concatenate([a, b]), x)
            np.testing.assert_array_equal(labels, one)
            np.testing.assert_array_equal(labels, two)
        np.testing.assert_array_equal(parts[1].whole(1)[0], whole.whole(1)[0])
        assert len(parts[1].whole(1)[0]) == 4
