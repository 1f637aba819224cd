"""Kernels for the GPU, written in CUDA, and graphs of their launches."""
