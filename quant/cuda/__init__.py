"""The CUDA kernels: Triton, the bytes of the CPU kernels. The same modules as cpu/; dispatch.KERNELS says which.

A thread does to one block or sub-block, operation by operation, what ggml's C does to it ("lanes"); where no order
matters - decoding, greatest magnitudes, final codes - a program takes a rectangle of numbers, so that neighbouring threads
touch neighbouring memory ("tiles"). A format whose scales are searched for takes several launches: the search of the
sub-blocks, the scales of the super-blocks, the codes.

With TRITON_INTERPRET=1 in the environment before Triton is first imported, the same kernels and launches run without a
GPU, on tensors in the host's memory. What that does not show - how the hardware rounds, contracts, converts, and which NaN
it makes - is said where it matters, in `arithmetic` above all. Importing this package imports neither torch nor Triton.
"""
