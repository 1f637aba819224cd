"""Module: the walk that finds parameters, state, modes, hooks, summary."""

import copy
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import CheckpointError, DeviceError, DTypeError
from minidl.nn import Module, Parameter
from tests.device import fetch


class Net(Module):
    """Parts of every kind, in an order that is not the alphabet's; no super().__init__()."""

    def __init__(self):
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.blocks = [nn.BatchNorm2d(2), nn.Sequential(nn.ReLU(), nn.Dropout(0.5))]
        self.scale = Parameter([2.0])
        self.head = nn.Dense(8, 3, bias=False)
        self.shifts = [Parameter(np.zeros(3)), Parameter(np.ones(3))]
        self.note = "not a part"

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(nn.Flatten()(x)) * self.scale + self.shifts[1]


NAMES = [
    *("scale", "shifts.0", "shifts.1", "stem.weight", "stem.bias"),
    *("blocks.0.weight", "blocks.0.bias", "head.weight"),
]
BUFFERS = [f"blocks.0.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")]


def image(n=4):
    return md.tensor(np.random.default_rng(0).normal(size=(n, 1, 2, 2)))


def everything(model):
    return fetch(model.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def test_a_parameter_is_an_own_float32_copy_that_needs_a_gradient():
    source = np.arange(3.0)
    p = Parameter(source)
    source[:] = 9
    assert isinstance(p, md.Tensor)
    assert p.requires_grad and p.is_leaf and p.dtype == np.float32
    assert p.numpy().tolist() == [0, 1, 2]
    assert Parameter([1, 2]).dtype == np.float32
    assert Parameter(source, dtype="float64").dtype == np.float64
    with pytest.raises(DTypeError):
        Parameter([1, 2], dtype=int)


def test_parts_are_named_by_their_paths_in_the_order_of_assignment():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in net.named_modules()] == [
        *("", "stem", "blocks.0", "blocks.1", "blocks.1.0", "blocks.1.1", "head"),
    ]
    assert sorted(net.state_dict()) == sorted(NAMES + BUFFERS)


def test_shared_parts_count_once():
    layer = nn.Dense(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert len(net.named_modules()) == 3
    other = nn.Dense(2, 2)
    other.weight = layer.weight
    assert len(nn.Sequential(layer, other).parameters()) == 3


def test_a_module_that_knows_its_parent_is_no_endless_walk():
    net = nn.Sequential(nn.ReLU())
    net[0].parent = net
    assert len(net.named_modules()) == 2


def test_the_state_is_a_copy():
    net = Net()
    state = net.state_dict()
    before = everything(net)
    for array in state.values():
        array += 1
    assert same(before, everything(net))


def test_the_state_goes_into_another_model():
    md.manual_seed(1)
    a, b = Net(), Net()
    a(image())
    arrays = [p.data for p in b.parameters()]
    assert not same(everything(a), everything(b))
    b.load_state_dict(a.state_dict())
    assert same(everything(a), everything(b))
    assert b.state_dict()["blocks.0.num_batches_tracked"] == 1
    assert all(p.data is array for p, array in zip(b.parameters(), arrays, strict=True))


def test_loading_keeps_dtype_and_memory_order():
    layer = nn.Dense(3, 2)
    layer.weight.data = layer.weight.data.copy(order="F")
    layer.load_state_dict({"weight": np.arange(6.0).reshape(2, 3), "bias": [1.0, 2.0]})
    assert layer.weight.dtype == np.float32
    assert layer.weight.data.flags.f_contiguous
    assert layer.weight.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    layer.load_state_dict({"weight": md.tensor(np.ones((2, 3))), "bias": np.zeros(2)})
    assert (layer.weight.numpy() == 1).all()


def test_every_fault_of_a_state_is_named_and_nothing_is_loaded():
    net = Net()
    before = everything(net)
    state = net.state_dict()
    del state["scale"], state["blocks.0.running_var"]
    state["head.weight"] = np.zeros((3, 9))
    state["extra"] = np.zeros((7,))
    state["stem.bias"] = np.full(2, 5.0)
    with pytest.raises(CheckpointError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert "scale: expected (1,), found nothing" in text
    assert "blocks.0.running_var: expected (2,), found nothing" in text
    assert "head.weight: expected (3, 8), found (3, 9)" in text
    assert "extra: expected nothing, found (7,)" in text
    assert "stem" not in text
    assert same(before, everything(net))


def test_values_that_are_no_numbers_are_not_half_loaded():
    layer = nn.Dense(2, 1)
    before = everything(layer)
    with pytest.raises(ValueError):
        layer.load_state_dict({"weight": np.ones((1, 2)), "bias": np.array(["a"])})
    assert same(before, everything(layer))


def test_modes_reach_every_module():
    net = Net()
    assert all(m.training for _, m in net.named_modules())
    assert net.eval() is net
    assert not any(m.training for _, m in net.named_modules())
    assert net.train() is net
    assert all(m.training for _, m in net.named_modules())
    net.train(False)
    assert not net.blocks[1][1].training


def test_to_keeps_what_is_there_already():
    net = Net()
    net(image()).sum().backward()
    arrays = [p.data for p in net.parameters()]
    assert net.to(net.scale.device) is net
    assert all(p.data is array for p, array in zip(net.parameters(), arrays, strict=True))
    with pytest.raises(DeviceError):
        net.to("tpu")


def test_zero_grad_forgets():
    net = Net()
    net(image()).sum().backward()
    assert net.scale.grad is not None and net.shifts[0].grad is None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_hooks_see_and_may_replace_the_output():
    layer, seen = nn.ReLU(), []

    def see(module, inputs, output):
        seen.append((module, *(x.numpy().tolist() for x in (*inputs, output))))

    hooks = [layer.register_forward_hook(see)]
    hooks.append(layer.register_forward_hook(lambda module, inputs, y: y + 1))
    hooks.append(layer.register_forward_hook(lambda module, inputs, y: y * 2))
    assert layer.is_watched and not nn.ReLU().is_watched
    assert layer(md.tensor([-1.0, 3.0])).numpy().tolist() == [2, 8]
    assert seen == [(layer, [-1, 3], [0, 3])]
    hooks[1].remove()
    hooks[1].remove()
    assert layer(md.tensor([-1.0, 3.0])).numpy().tolist() == [0, 6]
    for hook in hooks:
        hook.remove()
    assert not layer.is_watched


def test_hooks_before_the_forward_pass_see_and_may_replace_the_inputs():
    layer, seen = nn.ReLU(), []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs)))
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 1,))
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 2)
    x = md.tensor([0.5, 3.0])
    assert layer(x).numpy().tolist() == [0, 4]
    assert seen == [(layer, (x,))]
    hook.remove()
    layer(x)
    assert len(seen) == 1


def test_a_copy_is_watched_by_nobody(tmp_path):
    net = nn.Sequential(nn.Dense(2, 3), nn.ReLU())
    net[1].register_forward_hook(lambda module, inputs, y: y + 1)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(nn.Sequential(net[0], nn.ReLU())))):
        assert not twin[1].is_watched
        assert same(everything(twin), everything(net))
        twin[0].weight.data[...] = 0
        assert net[0].weight.data.any()
    assert net[1].is_watched


def test_operations_belong_to_the_innermost_module():
    net = nn.Sequential(nn.Dense(2, 2), nn.Tanh())
    y = net(np.ones((1, 2), np.float32))
    assert y.node.layer is net[1]
    assert (y * 2).node.layer is None


def test_a_module_without_forward_says_so():
    class Empty(Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define forward"):
        Empty()(1)


def test_a_deep_copy_is_independent():
    net = Net()
    net(image())
    before = everything(net)
    twin = copy.deepcopy(net)
    assert same(before, everything(twin))
    for p in twin.parameters():
        p.data += 1
    twin(image())
    assert same(before, everything(net))
    assert [type(p) for p in twin.parameters()] == [Parameter] * len(NAMES)


def test_summary_is_a_table():
    lines = md.models.article_cnn().summary((1, 28, 28)).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "type", "output", "parameters"],
        ["0", "Conv2d", "(N,", "32,", "28,", "28)", "320"],
        ["1", "ReLU", "(N,", "32,", "28,", "28)", "0"],
        ["2", "MaxPool2d", "(N,", "32,", "14,", "14)", "0"],
        ["3", "Flatten", "(N,", "6272)", "0"],
        ["4", "Dense", "(N,", "10)", "62,730"],
        ["total", "63,050"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_summary_shows_own_parameters_and_layers_that_did_not_run():
    net = Net()
    net.spare = nn.Dense(4, 5)
    rows = {line.split()[0]: line.split() for line in net.summary((1, 2, 2)).splitlines()}
    assert rows["spare"] == ["spare", "Dense", "-", "25"]
    assert rows["Net"] == ["Net", "(N,", "3)", "7"]
    assert rows["total"] == ["total", str(7 + 20 + 4 + 24 + 25)]


def test_summary_leaves_the_model_as_it_was():
    net = Net()
    seen = []
    net.stem.register_forward_hook(lambda module, inputs, y: seen.append(y))
    net.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    net.blocks[0].eval()
    net(image()).sum().backward()
    seen.clear()
    state, grad = everything(net), net.scale.grad.numpy().copy()
    watched = [m.is_watched for _, m in net.named_modules()]
    random = md.rng.generator().bit_generator.state
    net.summary((1, 2, 2))
    assert seen == []
    assert same(state, everything(net))
    assert net.scale.grad.numpy() == grad
    assert [m.training for _, m in net.named_modules()] == [True, True, False, *[True] * 4]
    assert [m.is_watched for _, m in net.named_modules()] == watched
    assert md.rng.generator().bit_generator.state == random


def test_summary_that_fails_leaves_the_model_as_it_was():
    net = md.models.article_cnn()
    hook = net[1].register_forward_hook(lambda module, inputs, y: None)
    with pytest.raises(md.errors.ShapeError):
        net.summary((3, 28, 28))
    assert net.training and [layer.is_watched for layer in net] == [False, True, *[False] * 3]
    hook.remove()
    assert not net[1].is_watched


def test_summary_runs_in_the_models_dtype():
    layer, seen = nn.Dense(2, 2), []
    for p in layer.parameters():
        p.data = p.data.astype(np.float64)
    forward = layer.forward
    layer.forward = lambda x: (seen.append((x.dtype, x.shape)), forward(x))[1]
    layer.summary((2,))
    assert seen == [(np.float64, (1, 2))]
    assert nn.ReLU().summary((3,)).splitlines()[1].split() == ["ReLU", "(N,", "3)", "0"]


def test_the_representation_nests():
    net = nn.Sequential(nn.Dense(2, 3), nn.Residual(nn.Sequential(nn.ReLU()), scale=0.5))
    assert repr(net) == (
        "Sequential(\n"
        "  0: Dense(in_features=2, out_features=3)\n"
        "  1: Residual(scale=0.5\n"
        "    branch: Sequential(\n"
        "      0: ReLU())))"
    )


def test_two_parameters_of_one_name_are_refused():
    class Twins(nn.Module):
        def __init__(self):
            self.d = {"0": nn.Dense(1, 1), 0: nn.Dense(1, 1)}

    with pytest.raises(md.errors.ConfigError, match="two parameters have one name"):
        Twins().parameters()


def test_moving_to_where_it_is_changes_nothing():
    layer = nn.Dense(2, 2)
    y = layer(np.ones((1, 2), "f")).sum()
    layer.to(layer.weight.device)
    y.backward()


def test_a_hook_may_remove_itself_and_the_next_one_still_runs():
    layer, seen = nn.ReLU(), []
    hook = layer.register_forward_hook(lambda *_: hook.remove())
    layer.register_forward_hook(lambda *_: seen.append("second"))
    layer(md.tensor([1.0]))
    layer(md.tensor([1.0]))
    assert seen == ["second", "second"]


@pytest.mark.parametrize(
    ("layer", "option", "value"),
    [
        (md.nn.BatchNorm2d(4), "momentum", np.float64(0.3)),
        (md.nn.BatchNorm2d(4), "eps", np.float64(0.1)),
        (md.nn.LayerNorm((6, 6)), "eps", np.float64(0.1)),
        (md.nn.Dropout(0.1), "p", np.float64(0.5)),
        (md.nn.LeakyReLU(0.1), "slope", np.float64(0.5)),
    ],
)
def test_an_option_of_numpy_does_not_change_the_type(layer, option, value):
    x = np.ones((2, 4, 6, 6), np.float32)
    before = {name: t.dtype for name, t in layer._state().items()}
    setattr(layer, option, value)
    assert type(getattr(layer, option)) is float
    assert layer(x).dtype == np.float32
    assert {name: t.dtype for name, t in layer._state().items()} == before


def test_a_tensor_of_whole_numbers_takes_no_fractions():
    class Net(nn.Module):
        def __init__(self):
            self.temperature, self.table = md.tensor(1), md.tensor([1, 2])

    net = Net()
    net.temperature, net.table = 3, [4.0, 5.0]
    assert net.temperature.item() == 3 and net.table.numpy().tolist() == [4, 5]
    for name, value in (("temperature", 0.5), ("temperature", np.nan), ("table", [1.5, 2])):
        with pytest.raises(DTypeError, match=rf"Net\.{name}: expected values that int64 can hold"):
            setattr(net, name, value)
    assert net.temperature.item() == 3 and net.table.numpy().tolist() == [4, 5]
