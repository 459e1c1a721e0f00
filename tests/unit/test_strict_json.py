"""One reading of JSON: what is ambiguous is refused however it is written, and equal JSON is equal however it is."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.protocol.canonical_json import canonical_json, rfc8785_json
from postback.protocol.strict_json import (
    InvalidJson,
    RepeatedName,
    TooLarge,
    decode_typed,
    fields_of,
    parse_json,
    same_fields,
)

_NAMES = st.sampled_from(["a", "b", "value", 'a":', "\u0022:", "é", "😀", ":", "", "\\", "\n"])
_NUMBERS = st.sampled_from(
    ["0", "-0", "1", "1.0", "1e0", "10", "1e1", "1E+1", "0.1", "1e-1", "0.10", "5e3", "5000.0", "1e21", "123456789012"]
) | st.integers(-(2**53) + 1, 2**53 - 1).map(str)
_TEXTS = st.text(max_size=6) | st.sampled_from(['":', '"a":1,', "null", "{", "}", "\\u0022:"])


@st.composite
def written(draw: st.DrawFn, depth: int = 3, *, repeat: bool = True) -> str:
    """JSON as text: objects that may give names twice, white space anywhere, any escape, any spelling of a number."""

    def space() -> str:
        return draw(st.sampled_from(["", "", "", " ", "\n\t", "\r "]))

    def text(value: str) -> str:
        plain = json.dumps(value, ensure_ascii=draw(st.booleans()))
        if value and draw(st.booleans()) and ord(value[0]) < 0x10000 and not 0xD800 <= ord(value[0]) < 0xE000:
            rest = json.dumps(value[1:], ensure_ascii=True)[1:]
            return f'"\\u{ord(value[0]):04x}{rest}'
        return plain

    kind = draw(st.sampled_from(["object", "object", "array", "scalar"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(st.sampled_from(["null", "true", "false"]) | _NUMBERS | _TEXTS.map(text))
    if kind == "array":
        items = [draw(written(depth - 1, repeat=repeat)) for _ in range(draw(st.integers(0, 3)))]
        return f"{space()}[{space()}{f'{space()},{space()}'.join(items)}{space()}]{space()}"
    names = draw(st.lists(_NAMES, max_size=4, unique=not repeat))
    fields = [f"{text(name)}{space()}:{space()}{draw(written(depth - 1, repeat=repeat))}" for name in names]
    return f"{space()}{{{space()}{f'{space()},{space()}'.join(fields)}{space()}}}{space()}"


def gives_a_name_twice(text: str) -> bool:
    found = False

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=once)
    return found


@pytest.mark.slow
@settings(max_examples=500)
@given(written())
def test_a_name_given_twice_is_found_at_any_depth_and_nothing_else_is_taken_for_one(text: str) -> None:
    raw = text.encode()
    repeated = gives_a_name_twice(text)

    assert same_fields(raw, msgspec.json.encode(msgspec.json.decode(raw))) is not repeated
    if repeated:
        with pytest.raises(RepeatedName):
            parse_json(raw)
    else:
        assert parse_json(raw) == json.loads(text)


@settings(max_examples=300)
@given(written())
def test_the_fields_of_an_object_are_found_with_their_bytes(text: str) -> None:
    raw = text.encode()
    pairs = json.loads(text, object_pairs_hook=list)
    if not text.strip().startswith("{"):
        with pytest.raises(msgspec.ValidationError):
            fields_of(raw)
    elif len(dict(pairs)) < len(pairs):
        with pytest.raises(RepeatedName) as refused:
            fields_of(raw)
        names = [name for name, _ in pairs]
        assert names.count(refused.value.name) > 1
    else:
        fields = {name: json.loads(bytes(value)) for name, value in fields_of(raw).items()}
        assert fields == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"value":10,"value" :99}',
        '{"value" :10,"value":99}',
        '{"a" :1,"value":10,"value":99}',
        '{"a":"\\u0022:","value":10,"value":99}',
        '{"value":10,"v\\u0061lue":99}',
        '{"a":"\\":","b":{"value":1,"value":1}}',
        '{"value":10,\n"value"\n:\n10.0}',
    ],
)
def test_a_name_given_twice_is_named_when_it_may_be(text: str) -> None:
    with pytest.raises(InvalidJson, match="same field name twice: value"):
        parse_json(text.encode(), frozenset(["value"]))
    with pytest.raises(InvalidJson, match="same field name twice: a field"):
        parse_json(text.encode())


@pytest.mark.slow
@settings(max_examples=500)
@given(written(repeat=False), written(repeat=False), st.randoms(use_true_random=False))
def test_two_texts_have_one_form_when_rfc_8785_says_so(one: str, other: str, shuffle: random.Random) -> None:
    again = json.dumps(shuffled(json.loads(one), shuffle), indent=1)
    for text in (other, again):
        same = reference(one) == reference(text)
        assert (canonical_json(one.encode()) == canonical_json(text.encode())) is same
        assert (rfc8785_json(one.encode()) == rfc8785_json(text.encode())) is same
    assert rfc8785_json(one.encode()) == reference(one)
    assert canonical_json(one.encode()) == canonical_json(again.encode())


def reference(text: str) -> bytes:
    """The canonical form by the package that has the specification's algorithm. Its numbers are doubles."""
    return rfc8785.dumps(json.loads(text, parse_int=float))


def shuffled(tree: Any, shuffle: random.Random) -> Any:
    if isinstance(tree, dict):
        return {name: shuffled(tree[name], shuffle) for name in shuffle.sample(list(tree), len(tree))}
    return [shuffled(item, shuffle) for item in tree] if isinstance(tree, list) else tree


class _Shape(msgspec.Struct):
    count: int
    price: float = 0.0
    anything: Any = None


@pytest.mark.parametrize("spelled", ["3", "3.0", "3.00", "0.3e1", "30e-1"])
def test_a_number_without_a_fraction_is_an_integer(spelled: str) -> None:
    read = decode_typed(f'{{"count":{spelled},"price":{spelled},"anything":[{spelled}]}}'.encode(), _Shape)

    assert read == _Shape(3, 3.0, [3])
    assert isinstance(read.anything[0], int)


@pytest.mark.parametrize("spelled", ["3.5", '"3"', "true", "1e400", "[3]"])
def test_what_is_no_integer_is_still_refused(spelled: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_typed(f'{{"count":{spelled}}}'.encode(), _Shape)


def test_millions_of_small_fields_are_refused_without_being_held() -> None:
    text = b'{"batch":[],' + b",".join(b'"%d":0' % number for number in range(300_000)) + b"}"
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            fields_of(text, ("batch",), 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=100, deadline=None)
@given(written(), written(), st.sampled_from(["large", "other"]), st.sampled_from(["large", "l\\u0061rge", "third"]))
def test_a_large_field_is_read_as_any_other(one: str, other: str, second: str, third: str) -> None:
    raw = f'{{"large" : {one},"{second}":{other}, "{third}":{one} }}'.encode()

    assert _fields_or_error(raw, ("large",), len(raw) - 1) == _fields_or_error(raw)


def _fields_or_error(raw: bytes, large: tuple[str, ...] = (), max_bytes_beside: int | None = None) -> Any:
    try:
        return {name: bytes(value) for name, value in fields_of(raw, large, max_bytes_beside).items()}
    except RepeatedName as error:
        return type(error)


def test_a_batch_may_be_large() -> None:
    text = b'{"batch":[%b],"x":1}' % b",".join([b"0"] * 1_000_000)

    assert fields_of(text, ("batch",), 1_000)["x"]


def test_deep_json_does_not_grow_when_it_is_read() -> None:
    text = b'{"a":' * 30 + b"[%b]" % b",".join([b"1"] * 200_000) + b"}" * 30
    tracemalloc.start()
    try:
        parse_json(text)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(text)
    finally:
        tracemalloc.stop()


def test_a_text_alone_has_the_form_of_rfc_8785_whatever_its_characters() -> None:
    text = "".join(map(chr, (*range(0x3000), 0xFFFD, 0x1F600)))

    assert rfc8785_json(json.dumps(text).encode()) == rfc8785.dumps(text)
