"""The tree of errors in the module's docstring is the one that the classes make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import pytest

from postback import errors
from postback.errors import InvalidRequest, PostbackError, Recovery, StartupError, raise_all


def drawn(error: type[Exception], indent: str = "") -> Iterator[str]:
    """A line for each error below this one, in the order of their definition."""
    children = [child for child in error.__subclasses__() if child.__module__ == errors.__name__]
    for child in children:
        last = child is children[-1]
        yield f"{indent}{'└' if last else '├'}── {child.__name__}"
        yield from drawn(child, f"{indent}{'    ' if last else '│   '}")


def leaves(error: type[PostbackError] = PostbackError) -> list[type[PostbackError]]:
    children = error.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [error]


def test_the_docstring_draws_the_tree_of_the_classes() -> None:
    lines = re.findall(r"^((?:[│ ]   )*[├└]── \w+|\w+Error)(?:\n| {2,}\S)", errors.__doc__ or "", re.MULTILINE)

    assert lines == [PostbackError.__name__, *drawn(PostbackError), StartupError.__name__]


def test_every_name_is_exported() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    assert set(errors.__all__) - {"Recovery", "raise_all"} == classes


@pytest.mark.parametrize("error", leaves(), ids=lambda error: error.__name__)
def test_every_error_tells_a_program_and_a_developer_what_to_do(error: type[PostbackError]) -> None:
    raised = error("It went wrong.")

    assert re.fullmatch(r"[A-Z_]+", raised.reason)
    assert 200 <= raised.status < 600
    assert raised.recovery in get_args(Recovery)
    assert re.fullmatch(r"(?:[A-Z/].*\.|.*\}\.)", raised.suggestion)


def test_the_first_of_several_errors_carries_at_most_a_hundred() -> None:
    found = [InvalidRequest(str(number)) for number in range(101)]

    with pytest.raises(InvalidRequest, match=r"^0$") as raised:
        raise_all(found)
    raise_all([])

    assert raised.value.also == found[1:100]
