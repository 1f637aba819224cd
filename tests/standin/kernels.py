"""CUDA kernels on the CPU: their source, compiled as C++, run thread by thread.

The arithmetic of `minidl/kernels/gpu/kernels.cu` is proven this way without a GPU. A kernel that
waits for its block (`__syncthreads`) gets a thread of the system for each of its threads.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from .array import counter, ndarray
from .graph import tape

SHIM = """
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
using namespace std;
#define __global__
#define __device__
#define __shared__ static
struct Dim { unsigned x; };
static thread_local Dim threadIdx;
static Dim blockIdx, blockDim;
static barrier<>* together;
static void __syncthreads() { if (together) together->arrive_and_wait(); }
"""
LAUNCHER = """
extern "C" void launch_{name}(unsigned grid, unsigned block, {parameters}) {{
    blockDim = {{block}};
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {{
        {body}
    }}
}}
"""
ALONE = "for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x) {name}({arguments});"
MEETING = """
        barrier<> meeting(block);
        together = &meeting;
        vector<thread> team;
        for (unsigned t = 0; t < block; ++t)
            team.emplace_back([=] {{ threadIdx.x = t; {name}({arguments}); }});
        for (thread& member : team) member.join();
        together = nullptr;
"""
STRIDED = {"matmul"}  # kernels that are told the strides of their arrays
COMPILER = shutil.which("g++")


class Kernel:
    """A compiled kernel: called with grid, block and arguments, as a RawKernel is."""

    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any) -> None:
        assert len(grid) == len(block) == 1 and 0 < block[0] <= 1024
        if self.name not in STRIDED:
            assert all(a.flags.c_contiguous for a in args if isinstance(a, ndarray))
        given = [_argument(a) for a in args]

        def run(arrays: Any = args) -> None:  # which lie in memory as long as this is kept
            self.function(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *given)

        if tape.work is not None:
            tape.work.append(run)
            tape.names.append(self.name)
        else:
            counter.launched.append(self.name)
            run()


def _argument(a: Any) -> Any:
    """As CuPy passes it: an array by its address, an int in 8 bytes, a float in 8."""
    if isinstance(a, ndarray):
        return ctypes.c_void_p(a.data.ptr)
    return ctypes.c_longlong(a) if isinstance(a, int) else ctypes.c_double(a)


class RawModule:
    """Stands for cupy.RawModule where there is a C++ compiler."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        if COMPILER is None:
            raise RuntimeError("no g++ here to compile the kernels with")
        flags = [o for o in options if o.startswith("-D")]
        geometry = re.search(r"#define GEOMETRY \\\n(.*)", code)[1]  # the one macro of parameters
        found = re.findall(r'extern "C" __global__ void (\w+)\((.*?)\)', code, re.S)
        self.parameters = {name: args.replace("GEOMETRY", geometry) for name, args in found}
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            source.write_text(SHIM + code + "".join(map(self._launcher, *self._bodies(code))))
            command = [COMPILER, "-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", *flags]
            subprocess.run([*command, str(source), "-o", str(library)], check=True)
            self.library = ctypes.CDLL(str(library))

    def _bodies(self, code: str) -> tuple[list[str], list[str]]:
        parts = code.split('extern "C" __global__ void ')[1:]
        return [part.partition("(")[0] for part in parts], parts

    def _launcher(self, name: str, body: str) -> str:
        parameters = self.parameters[name]
        arguments = ", ".join(p.split()[-1].lstrip("*") for p in parameters.split(","))
        way = MEETING if "__shared__" in body else ALONE
        run = way.format(name=name, arguments=arguments)
        return LAUNCHER.format(name=name, parameters=parameters, body=run)

    def get_function(self, name: str) -> Kernel:
        return Kernel(name, getattr(self.library, f"launch_{name}"))
