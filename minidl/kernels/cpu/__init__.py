"""Kernels for the CPU: the batch lies innermost in memory, and BLAS multiplies."""
