"""ggml's own quantizers and decoders, called through ctypes: the oracle."""

from __future__ import annotations

import ctypes

import numpy as np
from ggufx.quant import FORMATS

_DECODERS = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}


class Ggml:
    """libggml-base.so at `path`. Arrays as for ggufx.quant."""

    def __init__(self, path: str) -> None:
        self._library = library = ctypes.CDLL(path)
        library.ggml_quantize_init.argtypes = [ctypes.c_int]
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
        library.ggml_validate_row_data.argtypes = [ctypes.c_int, pointer, ctypes.c_size_t]
        library.ggml_validate_row_data.restype = ctypes.c_bool
        library.ggml_type_name.restype = ctypes.c_char_p
        library.ggml_blck_size.restype = ctypes.c_int64
        library.ggml_type_size.restype = ctypes.c_size_t
        library.ggml_version.restype = ctypes.c_char_p
        self.version = library.ggml_version().decode()

    def quantize(self, x: np.ndarray, format: str, weights: np.ndarray | None = None, out=None) -> np.ndarray:
        row = FORMATS[format]
        if out is None:
            out = np.zeros((len(x), row.row_bytes(x.shape[1])), np.uint8)
        self._library.ggml_quantize_init(row.id)
        importance = None if weights is None else weights.ctypes.data
        written = self._library.ggml_quantize_chunk(row.id, x.ctypes.data, out.ctypes.data, 0, *x.shape, importance)
        if written != out.nbytes:
            raise AssertionError(f"ggml_quantize_chunk wrote {written} bytes of {out.nbytes}")
        return out

    def dequantize(self, blocks: np.ndarray, format: str, out=None) -> np.ndarray:
        row = FORMATS[format]
        if out is None:
            out = np.zeros((len(blocks), blocks.shape[1] // row.block_bytes * row.block_size), np.float32)
        decode = getattr(self._library, _DECODERS.get(format, f"dequantize_row_{format.lower().replace('_k', '_K')}"))
        decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        decode.restype = None
        decode(blocks.ctypes.data, out.ctypes.data, out.size)
        return out

    def type(self, format: str) -> tuple[str, int, int]:
        """Name, elements and bytes of a block."""
        library, number = self._library, FORMATS[format].id
        return library.ggml_type_name(number).decode().lower(), library.ggml_blck_size(number), library.ggml_type_size(number)

    def valid(self, blocks: np.ndarray, format: str) -> bool:
        """What llama-quantize asks of all that it writes; it says on stderr why not."""
        return self._library.ggml_validate_row_data(FORMATS[format].id, blocks.ctypes.data, blocks.nbytes)
