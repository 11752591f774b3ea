from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from neuro.io.pytree import digest, flatten, unflatten
from neuro.io.schema import SchemaError


class Pair(NamedTuple):
    left: object
    right: object


@dataclass(frozen=True)
class Leaf:
    values: np.ndarray
    name: str


VALUE = {
    Pair("a", 2): Leaf(np.arange(3, dtype=np.int32), "x"),
    "b": (None, True, 1.5, np.float64(2.5), np.int32(3), (np.zeros((2, 0)),)),
}


def test_a_nested_value_comes_back_with_types_and_dtypes() -> None:
    back = unflatten(*flatten(VALUE), (Pair, Leaf))
    assert list(back) == [Pair("a", 2), "b"]
    leaf = back[Pair("a", 2)]
    assert (type(leaf), leaf.name, leaf.values.dtype) == (Leaf, "x", np.int32)
    assert leaf.values.tolist() == [0, 1, 2]
    assert back["b"][:5] == (None, True, 1.5, 2.5, 3)
    assert back["b"][5][0].shape == (2, 0)


def test_what_is_no_plain_value_does_not_go_into_a_file() -> None:
    with pytest.raises(TypeError, match="a function cannot go into a file"):
        flatten({"f": digest})


def test_a_type_that_nobody_expects_is_not_made() -> None:
    with pytest.raises(KeyError, match="Leaf"):
        unflatten(*flatten(VALUE), (Pair,))


MISSHAPEN: list[tuple[Any, str]] = [
    ({"mapping": 3}, "mapping: is 3, expected a list"),
    ({"mapping": [["a"]]}, r"mapping\[0\]: is \['a'\], expected a list of 2"),
    ({"mapping": [[{"list": []}, 1]]}, "mapping: unhashable type: 'list'"),
    ({"mapping": [[{"tuple": [{"list": []}]}, 1]]}, "mapping: unhashable type: 'list'"),
    ({"list": "ab"}, "list: is 'ab', expected a list"),
    ({"array": 0}, "array: is 0, expected text"),
    ({"type": None}, "type: is None, expected text"),
    ({"type": "Pair", "parts": ["a"]}, "Pair: has 1 parts, expected 2"),
    ({"type": "Leaf", "parts": ["a", "b"]}, "Leaf.values: is 'a', expected ndarray"),
    ({"type": "Leaf", "parts": [{"array": "0"}, 3]}, "Leaf.name: is 3, expected text"),
]


@pytest.mark.parametrize(("plain", "told"), MISSHAPEN)
def test_what_is_not_as_it_was_flattened_is_told(plain: Any, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        unflatten(plain, {"0": np.zeros(3)}, (Pair, Leaf))


def test_a_digest_changes_with_a_bit_and_with_a_dtype() -> None:
    x = np.array([1.0, -0.0])
    assert digest(("a", x)) == digest(("a", x.copy()))
    others = [
        ("b", x),
        ("a", np.array([1.0, 0.0])),
        ("a", x.astype(np.float32)),
        ("a", x[None]),
    ]
    assert len({digest(other) for other in others} - {digest(("a", x))}) == 4
