"""The functions written out: how exact they are, and what is left alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.vector_math import VectorMath
from tests.kernel_cases import Array, Case
from tests.kernel_library import PROFILES, Library

op = relax.op
VECTORS, SINGLES = 400_000, 400_009  # numbers; a prime one has no whole vectors
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "tanh": math.tanh,
    "erf": math.erf,
}
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def _case(name: str, size: int) -> Case:
    return Case(f"{name}_{size}", ((size,),), (), getattr(op, name), np.asarray)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Every function over vectors, and over single numbers."""
    cases = [_case(name, size) for size in (VECTORS, SINGLES) for name in FUNCTIONS]
    return Library(cases, PROFILES["host"], tmp_path_factory.mktemp("functions"))


def _evaluate(library: Library, name: str, x: Array, *, singly: bool = False) -> Array:
    padded = np.zeros(SINGLES if singly else VECTORS, np.float32)
    padded[: x.size] = x
    index = list(FUNCTIONS).index(name) + (len(FUNCTIONS) if singly else 0)
    return library.call(index, padded)[: x.size]


def _everything() -> Array:
    """Every 10737th float32 there is: both signs, denormals, infinities, NaNs."""
    return (np.arange(VECTORS, dtype=np.uint64) * 10_737).astype(np.uint32).view(np.float32)


def _exact(name: str, x: Array) -> Array:
    def value(number: float) -> float:
        try:
            return FUNCTIONS[name](number)
        except OverflowError:
            return math.inf

    return np.array([value(number) for number in x.tolist()])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_relative_error_over_all_floats(name: str, library: Library) -> None:
    x = _everything()
    x = x[np.isfinite(x)]
    found, exact = _evaluate(library, name, x).astype(np.float64), _exact(name, x)
    huge = exact > np.finfo(np.float32).max
    assert np.isposinf(found[huge]).all()
    found, exact, x = found[~huge], exact[~huge], x[~huge]
    normal = np.abs(exact) >= SMALLEST_NORMAL
    error = np.abs(found - exact)
    assert (error[normal] / np.abs(exact[normal])).max() <= 3e-7
    # The reciprocal of an infinite exponential is 0 where the sigmoid is a denormal.
    step = 3e-39 if name == "sigmoid" else 1.5e-45
    assert error[~normal].max(initial=0) <= step


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity", "at_0"),
    [("exp", 0, np.inf, 1), ("sigmoid", 0, 1, 0.5), ("tanh", -1, 1, 0), ("erf", -1, 1, 0)],
)
@pytest.mark.parametrize("singly", [False, True])
def test_ends_of_the_range(
    name: str,
    at_minus_infinity: float,
    at_infinity: float,
    at_0: float,
    singly: bool,
    library: Library,
) -> None:
    x = np.array([-np.inf, np.inf, 0, -0.0, np.nan, -np.nan], np.float32)
    found = _evaluate(library, name, x, singly=singly)
    np.testing.assert_array_equal(
        found, np.array([at_minus_infinity, at_infinity, at_0, at_0, np.nan, np.nan], np.float32)
    )


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_are_odd_down_to_denormals(name: str, library: Library) -> None:
    x = np.geomspace(1.5e-45, 20, 10_000).astype(np.float32)
    plus, minus = _evaluate(library, name, x), _evaluate(library, name, -x)
    np.testing.assert_array_equal(plus, -minus)
    assert (plus > 0).all()


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sigmoid"])
def test_single_numbers_are_computed_as_vectors_are(name: str, library: Library) -> None:
    x = _everything()
    vectors, singles = (_evaluate(library, name, x, singly=s) for s in (False, True))
    numbers = ~np.isnan(vectors)
    assert numbers.sum() > 0.99 * np.isfinite(x).sum()
    assert (np.isnan(singles) == ~numbers).all()
    np.testing.assert_array_equal(
        vectors[numbers].view(np.uint32), singles[numbers].view(np.uint32)
    )


def test_no_call_of_the_c_library_is_left(library: Library) -> None:
    kernels = [f for f in library.lowered.functions.values() if isinstance(f, tirx.PrimFunc)]
    assert len(kernels) == 2 * len(FUNCTIONS)
    assert not any(_calls(kernel) for kernel in kernels)


def _calls(kernel: tirx.PrimFunc) -> list[str]:
    text = kernel.script()
    return [name for name in FUNCTIONS if f"T.{name}(" in text or f'"tirx.{name}"' in text]


Value = Callable[[Any, Any], Any]


def _kernel(value: Value, lanes: int = 8, dtype: str = "float32") -> tvm.IRModule:
    """y[i] = value(x, i) for i of one vector."""
    x, y = (tirx.decl_buffer((lanes,), dtype, name) for name in "xy")

    def store(i: Any) -> Any:
        return tirx.BufferStore(y, value(x, i), [i])

    function = tirx.PrimFunc([x, y], emit.vector(lanes, store))
    return tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})


def _written(module: tvm.IRModule) -> tvm.IRModule:
    return tvm.transform.Sequential([VectorMath()])(module)


def _exp(x: Any, i: Any) -> Any:
    return tirx.exp(tirx.BufferLoad(x, [i]))


def test_calls_in_the_kernel_are_seen_by_these_tests() -> None:
    assert _calls(_kernel(_exp)["kernel"]) == ["exp"]
    assert _calls(_written(_kernel(_exp))["kernel"]) == []
    assert _calls(_written(_kernel(_exp, lanes=1))["kernel"]) == []


def test_call_under_a_condition_reads_nothing_before_it_holds() -> None:
    def value(x: Any, i: Any) -> Any:
        return tirx.if_then_else(i >= 1, tirx.exp(tirx.BufferLoad(x, [i - 1])), emit.zero())

    module = _kernel(value)
    tvm.ir.assert_structural_equal(_written(module), module)


def test_call_beside_a_condition_is_written_out() -> None:
    def value(x: Any, i: Any) -> Any:
        guarded = tirx.if_then_else(i >= 1, tirx.tanh(tirx.BufferLoad(x, [i - 1])), emit.zero())
        return guarded + _exp(x, i)

    assert _calls(_written(_kernel(value))["kernel"]) == ["tanh"]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types_are_left_alone(dtype: str) -> None:
    module = _kernel(_exp, dtype=dtype)
    tvm.ir.assert_structural_equal(_written(module), module)


def test_kernel_without_calls_is_left_alone() -> None:
    module = _kernel(lambda x, i: tirx.sqrt(tirx.BufferLoad(x, [i])))
    tvm.ir.assert_structural_equal(_written(module), module)


COMPOSED: dict[str, tuple[Value, Callable[[Array], Array]]] = {
    "nested": (
        lambda x, i: tirx.tanh(tirx.exp(tirx.BufferLoad(x, [i]))),
        lambda x: np.tanh(np.exp(x)),
    ),
    "twice": (
        lambda x, i: _exp(x, i) * tirx.exp(-tirx.BufferLoad(x, [i])),
        np.ones_like,
    ),
    "reversed": (
        lambda x, i: tirx.exp(tirx.BufferLoad(x, [7 - i])),
        lambda x: np.exp(x[::-1]),
    ),
    "one": (lambda x, _: tirx.exp(tirx.BufferLoad(x, [3])), lambda x: np.full(8, np.exp(x[3]))),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_calls_within_calls(name: str) -> None:
    value, expect = COMPOSED[name]
    compiled = tvm.compile(_written(_kernel(value)), "llvm")
    x = np.random.default_rng(0).standard_normal(8).astype(np.float32)
    arguments = [tvm.runtime.tensor(a) for a in (x, np.zeros(8, np.float32))]
    compiled["kernel"](*arguments)
    np.testing.assert_allclose(arguments[1].numpy(), expect(x.astype(np.float64)), rtol=1e-6)
