"""The element types that weights and tensors between stages may have."""

from __future__ import annotations

SAFETENSORS_CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
}
"""NumPy's name of each type, and the name that safetensors gives it."""

DTYPES = frozenset(SAFETENSORS_CODES)
