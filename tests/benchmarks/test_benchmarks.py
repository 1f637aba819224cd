"""The benchmark itself: what it counts, what it compares, and what it writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's files import each other by bare names."""
    monkeypatch.syspath_prepend(str(HERE))
    import cases
    import problems
    import report

    return cases, problems, report


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(HERE), *map(str, arguments)], capture_output=True, text=True
    )


def test_a_step_is_measured_and_its_page_written(tmp_path):
    done = run("--only", "answer-1", "--rounds", 2, "--seconds", 0.01, "--docs", tmp_path)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "benchmarks.json").read_text())["answer-1"]
    assert len(runs) == 1
    ours = runs[0]["engines"]["minidl"]
    assert ours["agrees"]
    assert len(ours["seconds"]) == 2
    assert all(0 < seconds < 1 for seconds in ours["seconds"])
    assert 0 < ours["memory"] < ours["process"]
    page = (tmp_path / "benchmarks.md").read_text()
    assert f"| minidl | {ours['version']} |" in page
    for engine in runs[0]["missing"]:
        assert f"Missing: {engine}" in page


def test_an_unknown_case_is_refused():
    done = run("--only", "article-32,nothing")
    assert done.returncode == 2
    assert "unknown: nothing" in done.stderr


def test_work_of_the_article_cnn(modules):
    cases, problems, _ = modules
    operations, moved = cases.cost(problems.problem_of(cases.CASES["article-32"]))
    conv, dense = 2 * 32 * 32 * 28 * 28 * 9, 2 * 32 * 6272 * 10
    assert operations == 2 * conv + 3 * dense  # the image's own gradient is not needed
    image, big, small, logits = 32 * 28 * 28, 32 * 32 * 28 * 28, 32 * 32 * 14 * 14, 32 * 10
    weights = 5 * (32 * 9 + 6272 * 10)
    conv_bytes = 2 * image + 2 * big
    between = (big + big) * 2 + (big + small) * 2  # ReLU, pooling
    assert moved == 4 * (conv_bytes + between + 3 * small + 2 * logits + weights)


def test_work_of_a_residual_network_takes_both_ways(modules):
    cases, problems, _ = modules
    problem = problems.problem_of(cases.CASES["resnet-64"])
    shapes = {layer["name"]: after for layer, _, after in cases.walk(problem) if "name" in layer}
    assert shapes["5.shortcut.0"] == shapes["5.branch.3"] == (32, 16, 16)
    assert list(shapes.values())[-1] == (10,)


def result(**seconds):
    engines = {
        name.replace("_", " ", 1): {
            "version": "1", "seconds": [each, each], "agrees": name != "jax",
            "memory": 2**21 if name == "minidl" else 2**20, "process": 2**24,
        }
        for name, each in seconds.items()
    }  # fmt: skip
    limits = {"operations": 1e9, "bytes": 1e9}
    return {"engines": engines, "missing": {"dezero": "not there"}, "limits": limits} | {
        "operations": 5e5, "bytes": 2e5, "machine": "NumPy 1 on blas 2 (Old kernels)",
    }  # fmt: skip


def test_the_page_says_what_was_reached(modules):
    page = modules[2].page(
        {
            "article-32": [
                result(minidl=0.001, minidl_fit=0.00102, torch=0.0014, keras_fit=0.002, jax=0.1),
                result(minidl=0.001, minidl_fit=0.00102, torch=0.0012, keras_fit=0.002, jax=0.1),
            ]
        }
    )
    assert "| ≥ 1.5 | 1.40 / 1.20 | no |" in page
    assert "| ≥ 10 |  | not measured |" in page
    assert "added to minidl | ≤ 3 % | +2.0 % / +2.0 % | yes |" in page
    assert "PyTorch's peak memory | ≥ 1 | 0.50 / 0.50 | no |" in page
    assert "| jax **disagrees** | 1 | 100 |" in page
    assert "Missing: dezero (not there)." in page
    assert "with NumPy 1 on blas 2 (Old kernels): 1 G operations/s" in page
    assert "70 % of minidl's time (50 % products, 20 % memory)" in page
    assert "- `article-32`, torch: the aim is a step of 0.8 ms, minidl's takes 1." in page
    assert "its products take 0.5 ms and its memory 0.2, 88 % of what is aimed at.\n" in page
    assert "tinygrad: the aim" not in page


def test_the_exponent_of_growth(modules):
    points = [{"value": n, "operations": 1e6 * n, "seconds": 0.01 * n**1.5} for n in (1, 2, 4, 8)]
    table = "\n".join(modules[2].scaling({"curves": {"batch": points}}))
    assert "| batch | 1 – 8 | 8 | 22.6 | 1.50 |" in table


def test_products_of_a_step(modules):
    import products

    found = products.products("mlp-64")
    assert found == {
        (64, 784, 512): 1, (512, 64, 784): 1,
        (64, 512, 512): 2, (512, 64, 512): 1,
        (64, 512, 10): 1, (64, 10, 512): 1, (10, 64, 512): 1,
    }  # fmt: skip
    by_rows = products.products("resnet-64")
    assert by_rows[16, 27, 32 * 64] == 32  # three channels: all the kernel's pixels at once
    assert by_rows[16, 48, 32 * 64] == 2 * 3 * 32  # two convolutions, three columns, 32 rows
    work = sum(2 * m * k * n * often for (m, k, n), often in by_rows.items())
    cases, problems, _ = modules
    assert work == cases.cost(problems.problem_of(cases.CASES["resnet-64"]))[0]


def test_the_page_compares_a_step_with_its_products(modules):
    rows = [{"shape": [10, 10, 10], "often": 3, "seconds": 1e-6}]
    run = {"steps": {"mlp-64": rows}, "operations": 4e9}
    results = {"products": [run], "mlp-64": [result(minidl=0.001, torch=0.002)]}
    page = modules[2].page(results)
    assert "| mlp-64 | 3 × (10, 10, 10) | 100 % | 50 % |" in page
    assert "0.003 ms for the products alone, at 50 % of the best rate" in page
    assert "minidl's step 1 ms, torch 2 ms." in page
    assert "What stops" not in page
    results["mlp-64"] = [result(minidl=0.001, torch=0.0005)]
    told = (
        "the products alone take 0.003 ms, which leaves 0.497 for all the rest, where minidl takes"
    )
    assert f"{told} 0.997." in modules[2].page(results)


def test_folders_are_measured_and_their_table_written(modules, monkeypatch):
    import folders

    def alone(kind, folder):
        assert kind in folders.KINDS
        assert len(list(folder.rglob("*.jpg"))) == folders.BATCH
        if kind in ("minidl", "torch"):
            return {"rates": [300.0] if kind == "minidl" else [200.0]}
        if kind == "train":
            return {"eager": [1.0, 2.0, 3.0], "lazy": [1.25, 2.0, 6.0]}
        return {"memory": 33.0, "pixels": 30.0}

    monkeypatch.setattr(folders, "alone", alone)
    monkeypatch.setattr(folders, "FOLDERS", dict.fromkeys(folders.FOLDERS, (64, 8)))
    run = folders.measure(2, scale=0.01)
    assert run["rates"] == {"minidl": [300.0, 300.0], "torch": [200.0, 200.0]}
    page = "\n".join(modules[2].folders(run))
    assert "33.0 MiB, 1.10 × |" in page
    assert "| ≥ 0.97 | 0.800 (0.500 – 1.000) |" in page
    assert "| ≥ 1 | 300 ÷ 200: 1.50 (1.50 – 1.50) |" in page


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_folder_is_measured_in_a_process_of_its_own(modules, tmp_path):
    import folders

    folders.paint(tmp_path, 70, 32)
    found = folders.alone("eager", tmp_path)
    assert found["pixels"] == 70 * 3 * 32 * 32 / 2**20
    assert 0 <= found["memory"] < 64
    with pytest.raises(RuntimeError, match="KeyError"):
        folders.alone("nosuch", tmp_path)
