"""Products of two activations, for several vector units, judged in float64."""

from __future__ import annotations

import pytest
from tvm import relax

from jointdnn_tvm.passes.kernels.matmul import Factor
from tests.activation_cases import matmul
from tests.kernel_cases import Case, Draw
from tests.kernel_library import Libraries
from tests.kernel_tests import KernelTests


def matmul_case(seed: int) -> Case:
    """Often of batches, of which either factor may have fewer dimensions or ones."""
    draw = Draw(seed)
    m, k, n = draw.size(30), draw.size(60), draw.size(60)
    batch = tuple(draw.size(3) for _ in range(draw.size(2, 0)))

    def some() -> tuple[int, ...]:
        own = batch[draw.size(len(batch), 0) :] if draw.chance(0.3) else batch
        return tuple(1 if draw.chance(0.2) else extent for extent in own)

    turned = "".join(name for name in "ab" if draw.chance(0.4))
    a = (*some(), *((k, m) if "a" in turned else (m, k)))
    b = (*some(), *((n, k) if "b" in turned else (k, n)))
    return matmul(a, b, turned, draw.epilogue())


SQUARE = Case(
    "times_itself_transposed",
    ((2, 9, 13),),
    (),
    lambda x: relax.op.matmul(x, relax.op.permute_dims(x, [0, 2, 1])),
    lambda x: x @ x.swapaxes(-1, -2),
)
EDGES = [
    SQUARE,
    matmul((1, 1), (1, 1)),
    matmul((1, 300), (300, 1), "", "bias"),
    matmul((1, 40), (70, 40), "b"),  # one row
    matmul((1, 130), (70, 130), "b", "bias"),  # rows long enough to be summed as they lie
    matmul((3, 200), (70, 200), "b", "swish"),  # too few rows for a copy
    matmul((2, 7, 251), (1, 33, 251), "b", "bias"),
    matmul((16, 256), (2, 3, 256), "b"),
    matmul((3, 97, 1), (1, 5, 97), "ab", "swish"),
    matmul((2, 1, 9), (2, 9, 100)),
    matmul((3, 100), (3, 2), "a"),
    matmul((7, 20), (3, 20, 33)),  # one matrix for the whole batch
    matmul((2, 3, 11, 37), (1, 3, 37, 11), "", "swish"),
]


class TestMatmul(KernelTests):
    kind = "matmul"
    edges = EDGES

    @classmethod
    def draw(cls, seed: int) -> Case:
        return matmul_case(seed)

    def test_transposed_factor_is_read_where_it_was(self, libraries: Libraries) -> None:
        library = libraries("host")
        for index, case in enumerate(EDGES):
            assert not any("transpose" in name for name in library.kernels(index)), case.name


@pytest.mark.parametrize("turned", [False, True])
def test_rows_and_columns_of_a_factor(turned: bool) -> None:
    factor = Factor((4, 1, 2, 3), turned)
    assert (factor.rows, factor.columns) == ((3, 2) if turned else (2, 3))
    assert factor.batch == (4, 1)
