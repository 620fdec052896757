"""What CUDA code is tested on: three generations of GPUs, and only a compiler for them."""

from __future__ import annotations

import pytest

from jointdnn_tvm.cuda.compilers import find_cuda_compiler
from jointdnn_tvm.errors import LinkError

ARCHITECTURES = ("sm_80", "sm_87", "sm_90")


def _has_compiler() -> bool:
    try:
        find_cuda_compiler()
    except LinkError:
        return False
    return True


needs_cuda_compiler = pytest.mark.skipif(
    not _has_compiler(), reason="no CUDA compiler: pip install 'jointdnn-tvm[cuda]'"
)
