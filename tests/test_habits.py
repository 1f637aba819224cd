"""Names from elsewhere: the error says what they are called here; new tensors; masks."""

import numpy as np
import pytest

import minidl as md
from minidl import habits, nn, ops
from minidl.errors import ShapeError


@pytest.mark.parametrize(
    ("owner", "table"),
    [(nn, habits.LAYERS), (ops, habits.OPERATIONS), (md, habits.TOP)],
    ids=["nn", "ops", "md"],
)
def test_a_foreign_name_is_explained_and_the_name_given_exists(owner, table):
    for foreign, here in table.items():
        with pytest.raises(AttributeError, match=f"no attribute '{foreign}'; here it is"):
            getattr(owner, foreign)
        name = here.split(",")[0]
        if name.startswith("md."):
            _, *path = name.split(".")
            found = md
            for part in path:
                found = getattr(found, part)
        elif not name.startswith("a "):
            assert hasattr(owner, name), here


def test_a_tensors_foreign_methods_are_explained():
    x = md.tensor([1.0])
    for foreign in habits.TENSORS:
        with pytest.raises(AttributeError, match=r"Tensor has no attribute .*; here it is"):
            getattr(x, foreign)
    with pytest.raises(AttributeError, match=r"Tensor has no attribute 'nonsense'$"):
        _ = x.nonsense
    assert not hasattr(x, "nonsense")


def test_a_foreign_argument_is_explained():
    x = md.tensor([[1.0, 2.0]])
    for call in (
        lambda: x.sum(dim=0),
        lambda: x.mean(axis=0, keepdim=True),
        lambda: ops.softmax(x, dim=1),
        lambda: md.ops.cumsum(x, dim=1),
    ):
        with pytest.raises(TypeError, match=r"(dim= is axis|keepdim= is keepdims) here"):
            call()
    with pytest.raises(TypeError, match="unexpected keyword"):
        x.sum(nonsense=0)


def test_positional_options_are_in_the_usual_order():
    conv = nn.Conv2d(3, 8, 3, 1, 1)
    assert (conv.stride, conv.padding) == (1, 1)
    assert conv(np.zeros((1, 3, 4, 4), "f")).shape == (1, 8, 4, 4)


def test_images_with_channels_last_are_told_how_to_turn():
    with pytest.raises(ShapeError, match=r"N, H, W, C.*transpose\(0, 3, 1, 2\)"):
        nn.Conv2d(3, 8, 3)(np.zeros((2, 28, 28, 3), "f"))


def test_new_tensors():
    assert md.zeros(2, 3).shape == md.zeros((2, 3)).shape == (2, 3)
    assert md.ones(2).numpy().tolist() == [1, 1] and md.full((2,), 7).numpy().tolist() == [7, 7]
    assert md.arange(3).dtype == np.int64 and md.arange(0, 1, 0.5).dtype == np.float32
    md.manual_seed(3)
    a, b = md.randn(4), md.rand(4, requires_grad=True)
    md.manual_seed(3)
    assert np.array_equal(a.numpy(), md.randn(4).numpy()) and b.requires_grad
    assert {t.dtype for t in (a, b, md.zeros(1), md.ones(1))} == {np.dtype("float32")}
    assert md.zeros(1, dtype="float64").dtype == np.float64
    assert md.full((1,), 0.1, dtype="float64").item() == 0.1  # not rounded to float32 first
    assert md.full((1,), 2**24 + 1, dtype="int64").item() == 2**24 + 1
    assert md.full((1,), 1).dtype == md.full((1,), 1, dtype=None).dtype == np.float32


def test_masks_and_places():
    x = md.tensor([[1.0, 5.0, 3.0], [5.0, 2.0, 5.0]])
    inside = (x > 1) & (x < 5)
    assert inside.numpy().tolist() == [[False, False, True], [False, True, False]]
    assert (inside | (x == 1)).numpy().sum() == 3 and (~inside).numpy().sum() == 4
    assert (inside ^ inside).numpy().sum() == 0
    assert x.argmax().item() == 1 and x.argmax(axis=1).numpy().tolist() == [1, 0]
    assert md.ops.argmin(x, 0, keepdims=True).numpy().tolist() == [[0, 1, 0]]
    with pytest.raises(ShapeError, match="argmax: expected elements"):
        md.zeros(0).argmax()


def test_format_and_pickle():
    import copy
    import pickle

    loss = md.tensor(1.23456, requires_grad=True)
    assert f"{loss:.3f}" == "1.235" and f"{loss * 2}" == str(loss * 2)
    with pytest.raises(ShapeError, match="item"):
        format(md.zeros(2), ".3f")
    (loss * 2).backward()
    for t in (loss, loss * 2, nn.Parameter([1.0])):
        for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t)), copy.copy(t)):
            assert type(twin) is type(t) and twin.is_leaf and twin.requires_grad
            assert np.array_equal(twin.numpy(), t.numpy())
    assert copy.deepcopy(loss).grad.item() == 2.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0.1}, r"Trainer: lr= is the optimizer's, as in optimizer=md\.optim\.SGD\("),
        ({"callbacks": []}, "Trainer: callbacks= is monitors here"),
        (
            {"epochs": 3, "batch_size": 8},
            "Trainer: epochs= is an argument of fit here, batch_size=",
        ),
        ({"colour": 3}, "^Trainer got an unexpected keyword argument 'colour'"),
        ({}, "^Trainer missing 1 required keyword-only argument: 'optimizer'"),
    ],
)
def test_arguments_that_a_trainer_has_not(options, said):
    with pytest.raises(TypeError, match=said):
        md.Trainer(md.models.mlp(4), **options)
