"""Weights and arrays to PyTorch and back: the same numbers, and arrays without a copy."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import CheckpointError, DTypeError
from tests.test_models import MODELS, batch, twin

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to exchange with")
files = pytest.importorskip("safetensors.torch")
torch.set_num_threads(1)
each = pytest.mark.parametrize("name", MODELS)


def pair(name):
    """A model, and a twin with weights and running statistics of its own, that has trained."""
    make, shape, _ = MODELS[name]
    md.manual_seed(0)
    torch.manual_seed(0)
    model = make()
    peer = twin(model).train()
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.01)
    for seed in range(3):
        x = torch.tensor(batch(shape, 4)) * (seed + 1)
        torch.nn.functional.cross_entropy(peer(x), torch.arange(4)).backward()
        optimizer.step()
    return model, peer.eval(), shape


def outputs(model, peer, shape):
    x = batch(shape, 4)
    with torch.no_grad():
        return model.eval()(x).numpy(), peer(torch.tensor(x)).numpy()


@each
def test_weights_from_pytorch_and_back(name, tmp_path):
    model, peer, shape = pair(name)
    files.save_file(peer.state_dict(), tmp_path / "theirs")
    md.load(tmp_path / "theirs", model)
    ours, theirs = outputs(model, peer, shape)
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    counts = [a for n, a in model.state_dict().items() if n.endswith("num_batches_tracked")]
    assert all(count == 3 and count.dtype == np.int64 for count in counts)
    assert bool(counts) == (name in ("vgg_small", "resnet_small"))

    md.save(tmp_path / "ours", model)
    fresh = twin(model).eval()
    fresh.load_state_dict(files.load_file(tmp_path / "ours"), strict=True)
    for a, b in zip(fresh.state_dict().values(), peer.state_dict().values(), strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)
    with torch.no_grad():
        x = torch.tensor(batch(shape, 4))
        assert torch.equal(fresh(x), peer(x))


def test_half_precision_is_widened_and_what_numpy_lacks_is_refused(tmp_path):
    model, peer = md.nn.Dense(3, 2), torch.nn.Linear(3, 2)
    files.save_file(peer.half().state_dict(), tmp_path / "half")
    md.load(tmp_path / "half", model)
    assert model.weight.dtype == np.float32
    np.testing.assert_array_equal(model.weight, peer.weight.detach().float().numpy())
    files.save_file(peer.bfloat16().state_dict(), tmp_path / "bfloat16")
    with pytest.raises(CheckpointError, match="ordinary number types"):
        md.load(tmp_path / "bfloat16", model)


def test_every_difference_to_pytorch_is_listed(tmp_path):
    files.save_file(torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict(), tmp_path / "f")
    with pytest.raises(CheckpointError) as caught:
        md.load(tmp_path / "f", md.nn.Sequential(md.nn.Dense(3, 4), md.nn.Dense(4, 1)))
    for line in ("0.weight: expected (4, 3), found (2, 3)", "1.bias: expected (1,), found nothing"):
        assert line in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_dlpack_shares_memory_both_ways(dtype):
    theirs = torch.zeros(3, 4, dtype=getattr(torch, dtype)).T
    ours = md.from_dlpack(theirs)
    assert ours.shape == (4, 3) and ours.dtype == dtype
    ours.data[1, 2] = 7
    assert theirs[1, 2] == 7
    back = torch.from_dlpack(ours)
    back[0, 0] = 5
    assert theirs[0, 0] == 5 and back.data_ptr() == theirs.data_ptr()
    array = np.from_dlpack(ours)
    array[3, 1] = 9
    assert theirs[3, 1] == 9 and np.asarray(ours) is ours.data


def test_what_dlpack_cannot_share_is_explained():
    for source, words in (
        (torch.zeros(2, requires_grad=True), r"from_dlpack: cannot share Tensor: .*detach"),
        (torch.zeros(2, dtype=torch.bfloat16), "from_dlpack: cannot share Tensor"),
        ([1.0], "from_dlpack: cannot share list"),
        (np.array(["a"]), "from_dlpack: cannot share ndarray"),
    ):
        with pytest.raises(DTypeError, match=words):
            md.from_dlpack(source)
