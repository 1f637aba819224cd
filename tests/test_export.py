"""ONNX export: onnxruntime computes what minidl computes."""

import json

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import CheckpointError, ConfigError, ShapeError

onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing builds the file")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

MODELS = {
    "article_cnn": (models.article_cnn, (1, 28, 28)),
    "mlp": (lambda: models.mlp(48, (20, 15)), (3, 4, 4)),
    "vgg_small": (models.vgg_small, (3, 32, 32)),
    "resnet_small": (models.resnet_small, (3, 32, 32)),
    "deep_plain_cnn": (lambda: models.deep_plain_cnn(8, 16), (1, 28, 28)),
}
# Every layer, with options whose defaults would hide a mistake.
LAYERS = {
    "Dense": (lambda: nn.Dense(5, 3), (2, 5)),
    "Dense, no bias": (lambda: nn.Dense(5, 3, bias=False), (5,)),
    "Conv2d": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        (4, 9, 8),
    ),
    "Conv2d, same": (lambda: nn.Conv2d(4, 2, 4, stride=2, padding="same"), (4, 9, 7)),
    "Conv2d, no bias": (lambda: nn.Conv2d(4, 2, 3, padding="valid", bias=False), (4, 5, 5)),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(
            *(4, 6, (3, 2)), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), groups=2
        ),
        (4, 5, 4),
    ),
    "ConvTranspose2d, same": (
        lambda: nn.ConvTranspose2d(4, 3, 4, stride=3, padding="same"),
        (4, 5, 4),
    ),
    "MaxPool2d": (lambda: nn.MaxPool2d((3, 2), (2, 1), 1), (2, 9, 8)),
    "MaxPool2d, same": (lambda: nn.MaxPool2d(3, 2, "same"), (2, 8, 6)),
    "MaxPool2d, ceil": (lambda: nn.MaxPool2d((3, 1), (4, 3), 0, ceil_mode=True), (2, 6, 5)),
    "MaxPool2d, ceil, grown": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 8, 6)),
    "AvgPool2d, ceil": (lambda: nn.AvgPool2d((2, 4), (3, 4), ceil_mode=True), (2, 3, 6)),
    "AvgPool2d, ceil, grown": (lambda: nn.AvgPool2d((3, 2), 2, 1, ceil_mode=True), (2, 8, 6)),
    "AvgPool2d, ceil, inside": (
        lambda: nn.AvgPool2d(3, 4, 2, ceil_mode=True, count_include_pad=False),
        (2, 7, 8),
    ),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), (2, 9, 8)),
    "AvgPool2d, same": (lambda: nn.AvgPool2d(3, 2, "same"), (2, 8, 6)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d, (2, 5, 4)),
    "Flatten": (nn.Flatten, (2, 3, 4)),
    "Flatten, late": (lambda: nn.Flatten(2), (2, 3, 4)),
    "ReLU": (nn.ReLU, (7,)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.3), (7,)),
    "ELU": (lambda: nn.ELU(0.7), (7,)),
    "SELU": (nn.SELU, (7,)),
    "GELU": (nn.GELU, (7,)),
    "GELU, tanh": (lambda: nn.GELU("tanh"), (7,)),
    "Tanh": (nn.Tanh, (7,)),
    "Sigmoid": (nn.Sigmoid, (7,)),
    "Softmax": (nn.Softmax, (3, 7)),
    "Softmax, axis": (lambda: nn.Softmax(1), (3, 7)),
    "Dropout": (nn.Dropout, (7,)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3, eps=0.1), (3, 4, 4)),
    "LayerNorm": (lambda: nn.LayerNorm((3, 4), eps=0.1), (2, 3, 4)),
    "Residual": (lambda: nn.Residual(nn.Dense(4, 4), scale=0.3), (4,)),
    "Residual, shortcut": (lambda: nn.Residual(nn.Dense(4, 3), nn.Dense(4, 3)), (4,)),
    "Sequential": (lambda: nn.Sequential(nn.Sequential(), nn.Tanh(), nn.Flatten()), (2, 2)),
    "WeightNormConv2d": (lambda: nn.weight_norm(nn.Conv2d(2, 3, 3), g=2.0), (2, 5, 5)),
    "WeightNormDense": (lambda: nn.weight_norm(nn.Dense(4, 3)), (4,)),
}


def same(make, shape, path, count=3):
    md.manual_seed(0)
    model, rng = make(), np.random.default_rng(0)
    state = model.state_dict()
    for name, array in state.items():
        if array.ndim == 1:  # biases, γ, β, running statistics: none at its default
            state[name] = rng.uniform(0.5, 1.5, array.shape)
    model.load_state_dict(state)
    md.export_onnx(path, model, shape)
    assert model.training
    session = runtime.InferenceSession(path)
    for n in (1, count):  # the batch is free
        x = rng.normal(size=(n, *shape)).astype(np.float32)
        expected = model.eval()(x).numpy()
        [found] = session.run(None, {"input": x})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        model.train()
    return model, session


@pytest.mark.parametrize("name", MODELS)
def test_every_model(name, tmp_path):
    model, session = same(*MODELS[name], tmp_path / "m.onnx")
    assert session.get_inputs()[0].shape == ["N", *MODELS[name][1]]
    assert session.get_outputs()[0].shape == ["N", 10]
    names = {array.name for array in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert names.issuperset(n for n in model.state_dict() if "num_batches" not in n)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, tmp_path):
    same(*LAYERS[name], tmp_path / "m.onnx")


def test_no_layer_and_no_model_is_left_out():
    kinds = {
        name
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module
    }
    assert kinds == {name.partition(",")[0] for name in LAYERS if "WeightNorm" not in name}
    made = {n for n, f in vars(models).items() if getattr(f, "__module__", "") == models.__name__}
    assert {n for n in made if not n.startswith("_")} == set(MODELS)


def test_a_layer_used_twice_is_written_once(tmp_path):
    dense = nn.Dense(4, 4)
    same(lambda: nn.Sequential(dense, nn.Tanh(), dense), (4,), tmp_path / "m.onnx")
    assert len(onnx.load(tmp_path / "m.onnx").graph.initializer) == 2


def test_float64_is_written_as_float32_and_normalisation_and_classes_go_along(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Dense(12, 2))
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    normalize = md.data.normalize([0.5, 0.25, 0.1], [2.0, 3.0, 0.5])
    path = tmp_path / "m.onnx"
    md.export_onnx(path, model, (3, 2, 2), normalize=normalize, classes=["é", "b"])
    session = runtime.InferenceSession(path)
    x = np.random.default_rng(0).random((4, 3, 2, 2), dtype=np.float32)
    expected = model(normalize(x)).numpy()
    np.testing.assert_allclose(session.run(None, {"input": x})[0], expected, rtol=1e-5, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["é", "b"]


class Own(nn.Module):
    def forward(self, x):
        return x


class OddReLU(nn.ReLU):
    def forward(self, x):
        return -x


def test_a_shape_of_numpy_integers(tmp_path):
    shapes = [(3, 8, 8), tuple(np.array([3, 8, 8])), [np.int32(3), np.uint8(8), 8]]
    paths = [tmp_path / f"{i}.onnx" for i in range(3)]
    for path, shape in zip(paths, shapes, strict=True):
        md.export_onnx(path, nn.Flatten(), shape)
    assert len({path.read_bytes() for path in paths}) == 1


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    for layer in (Own(), OddReLU()):
        with pytest.raises(ConfigError, match=rf"{type(layer).__name__} at '1'.*Conv2d, "):
            md.export_onnx(path, nn.Sequential(nn.ReLU(), layer), (4,))
    hooked = nn.Sequential(nn.ReLU())
    hooked[0].register_forward_hook(lambda module, inputs, y: 2 * y)
    with pytest.raises(ConfigError, match="hooks"):
        md.export_onnx(path, hooked, (4,))
    with pytest.raises(ShapeError, match="Dense"):
        md.export_onnx(path, nn.Sequential(nn.Dense(3, 2)), (4,))
    for shape in (28, (0,), (2.0,)):
        with pytest.raises(ConfigError, match="export_onnx: expected input_shape"):
            md.export_onnx(path, nn.ReLU(), shape)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        md.export_onnx(tmp_path / "file" / "m", nn.ReLU(), (4,))
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"minidl\[onnx\]"):
        md.export_onnx(path, nn.ReLU(), (4,))
    assert not path.exists()


def test_a_flatten_may_be_shared_by_values_of_other_ranks(tmp_path):
    flat = nn.Flatten(-2)
    layers = flat, nn.Softmax(-1), flat, nn.Dense(12, 2)
    same(lambda: nn.Sequential(*layers), (3, 2, 2), tmp_path / "m.onnx")


def test_a_call_of_ones_own_has_no_form(tmp_path):
    class Twice(nn.Dense):
        def __call__(self, x):
            return super().__call__(x) * 2

    with pytest.raises(ConfigError, match="minidl's own layers, got Twice"):
        md.export_onnx(tmp_path / "model.onnx", nn.Sequential(Twice(3, 2)), (3,))
