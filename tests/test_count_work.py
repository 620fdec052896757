"""Operations and bytes of groups against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm import relax

from jointdnn_tvm.cost.count_work import count_work
from jointdnn_tvm.cost.roofline import Work
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.network import Network

op = relax.op
F = 4  # bytes of a float


def work(*shapes: tuple[int, ...], of: Callable[..., relax.Expr], dtype: str = "float32") -> Work:
    """The work of one operator, or of several, over parameters of these shapes."""
    builder = relax.BlockBuilder()
    params = [relax.Var(f"p{i}", relax.TensorType(s, dtype)) for i, s in enumerate(shapes)]
    with builder.function("main", params):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(of(*params)))
        builder.emit_func_output(result)
    return count_work(relax.transform.Normalize()(builder.get())["main"])


def conv2d(groups: int = 1, **layouts: Any) -> Callable[..., relax.Expr]:
    return lambda x, w: op.nn.conv2d(
        x, w, strides=(2, 2), padding=(1, 1, 1, 1), groups=groups, **layouts
    )


NHWC: dict[str, Any] = {"data_layout": "NHWC", "kernel_layout": "HWIO"}


def test_convolution() -> None:
    # 9x9 padded to 11x11, 3x3 windows two apart: 5x5 places, 6 channels to 7
    expected = Work(
        "convolution",
        {"convolution": 2 * (5 * 5 * 7) * (3 * 3 * 6)},
        F * (9 * 9 * 6 + 3 * 3 * 6 * 7 + 5 * 5 * 7),
        1,
    )
    assert work((1, 9, 9, 6), (3, 3, 6, 7), of=conv2d(**NHWC)) == expected
    assert work((1, 6, 9, 9), (7, 6, 3, 3), of=conv2d()) == expected


def test_grouped_and_depthwise_convolution() -> None:
    grouped = work((2, 9, 9, 6), (3, 3, 2, 9), of=conv2d(3, **NHWC))
    assert grouped.operations == {"convolution": 2 * (2 * 5 * 5 * 9) * (3 * 3 * 2)}
    depthwise = work((1, 9, 9, 6), (3, 3, 1, 6), of=conv2d(6, **NHWC))
    assert depthwise.operations == {"depthwise": 2 * (5 * 5 * 6) * 9}
    assert depthwise.kind == "depthwise"


@pytest.mark.parametrize(
    ("left", "right", "products"),
    [
        ((1, 20), (20, 30), 20 * 30),
        ((8, 20), (20, 30), 8 * 20 * 30),
        ((2, 3, 8, 20), (2, 3, 20, 30), 2 * 3 * 8 * 20 * 30),
        ((2, 3, 8, 20), (20, 30), 2 * 3 * 8 * 20 * 30),
    ],
)
def test_dense_and_matmul(left: tuple[int, ...], right: tuple[int, ...], products: int) -> None:
    found = work(left, right, of=op.matmul)
    assert (found.kind, found.operations) == ("dense", {"dense": 2 * products})


@pytest.mark.parametrize(
    ("left", "right", "subscripts", "products"),
    [
        ((8, 20), (20, 30), "ij,jk->ik", 8 * 20 * 30),
        ((5, 8, 20), (5, 20, 30), "b i j, b j k -> b i k", 5 * 8 * 20 * 30),
        ((5, 8, 20), (20, 30), "...ij,jk->...ik", 5 * 8 * 20 * 30),
    ],
)
def test_einsum_is_a_matmul(
    left: tuple[int, ...], right: tuple[int, ...], subscripts: str, products: int
) -> None:
    found = work(left, right, of=lambda a, b: op.einsum((a, b), subscripts.replace(" ", "")))
    assert found.operations == {"dense": 2 * products}


def test_pooling() -> None:
    image = (1, 8, 8, 3)
    pool = work(image, of=lambda x: op.nn.max_pool2d(x, (2, 2), (2, 2), layout="NHWC"))
    assert pool == Work("pooling", {"pooling": 4 * 4 * 3 * 4}, F * (8 * 8 * 3 + 4 * 4 * 3), 1)
    whole = work(image, of=lambda x: op.nn.adaptive_avg_pool2d(x, (1, 1), layout="NHWC"))
    assert whole.operations == {"pooling": 8 * 8 * 3}


def test_reductions() -> None:
    for reduce in (lambda x: op.mean(x, 1), op.nn.softmax, lambda x: op.argmax(x, 1)):
        assert work((10, 20), of=reduce).operations == {"reduction": 200}


def test_elementwise_by_bytes_of_the_type() -> None:
    found = work((10, 20), (20,), of=op.add, dtype="float16")
    assert found == Work("elementwise", {"elementwise": 200}, 2 * (200 + 20 + 200), 1)


def test_what_only_moves() -> None:
    turned = work((10, 20), of=lambda x: op.permute_dims(x, (1, 0)))
    assert turned == Work("moving", {}, F * 400, 1)
    joined = work((10, 20), (10, 5), of=lambda a, b: op.concat([a, b], 1))
    assert joined == Work("moving", {}, F * 500, 1)
    view = work((10, 20), of=lambda x: op.reshape(x, (200,)))
    assert (view.moved_bytes, view.kernels) == (0, 0)


def test_of_a_table_only_what_is_picked() -> None:
    rows = relax.const([3, 1, 4], "int64")
    assert work((1000, 20), of=lambda x: op.take(x, rows, 0)).moved_bytes == F * 2 * 60
    corner = work((50, 50), of=lambda x: op.strided_slice(x, [0, 1], [0, 0], [5, 5]))
    assert corner.moved_bytes == F * 2 * 25


def test_what_is_fused_moves_nothing_in_between() -> None:
    found = work(
        (1, 9, 9, 6), (3, 3, 6, 7), of=lambda x, w: op.nn.relu(op.exp(conv2d(**NHWC)(x, w)))
    )
    alone = work((1, 9, 9, 6), (3, 3, 6, 7), of=conv2d(**NHWC))
    assert (found.kind, found.kernels) == ("convolution", 1)
    assert found.moved_bytes == alone.moved_bytes
    assert found.operations == {**alone.operations, "elementwise": 2 * 5 * 5 * 7}


def test_a_weight_behind_a_view_is_read() -> None:
    found = work((1, 20), (600,), of=lambda x, w: op.matmul(x, op.reshape(w, (20, 30))))
    assert found.moved_bytes == F * (20 + 600 + 30)


def test_work_that_depends_on_the_data() -> None:
    with pytest.raises(CostError, match="depends on the data"):
        work((10, 20), of=op.nonzero)


def test_every_group_of_a_network_has_work(branching: Network) -> None:
    for group in branching.graph.groups:
        found = count_work(branching.grouped[group.name])
        assert found.moved_bytes > 0 or set(group.operators) <= {"reshape"}
