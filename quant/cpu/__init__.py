"""The CPU kernels: Numba, lane-parallel. One module per family of formats; dispatch.KERNELS says which."""
