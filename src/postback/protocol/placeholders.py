"""What a template leaves where a value should be: a word for "no value", or a macro that was not replaced.

One table of words and one of delimiters, for event ids, identifiers and the digests of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from postback.protocol.characters import decoded

__all__ = [
    "DELIMITERS",
    "JUNK_IN_IDENTIFIERS",
    "JUNK_WORDS",
    "NAME_DELIMITERS",
    "UNFILLED_ENDINGS",
    "ends_unfilled",
    "is_junk_word",
    "is_macro",
    "is_unfilled",
]

_WORDS = """
null undefined none nan nil false true infinity n/a na n.a. not_set notset array \\n
-infinity optional(nil) %!s(<nil>) %!d(<nil>) %1$s %1$d
(null) (none) (empty) (unknown) <null> <none> <nil> [null] [none] [undefined] <undefined> {null} {undefined}
#n/a #ref! #value! #name? #null! #div/0! #num! #error! #error #spill! #calc! %s %d {0} {1}
order_id orderid event_id eventid transaction_id transactionid click_id clickid user_agent useragent
order-id event-id transaction-id click-id user-agent http_user_agent navigator.useragent
gclid gbraid wbraid dclid fbclid ttclid msclkid twclid li_fat_id scclid
"""
_PHRASES = """
not set;(not set);not available;not provided;(not provided);undefined undefined;null null;object object
[object object];[object undefined];[object null];[object htmlinputelement]
order id;event id;transaction id;click id;user agent
"""
JUNK_IN_IDENTIFIERS = frozenset(("unknown", "missing", "empty", "void", "object", "unset", "-1"))
"""Words that no click id is, but which a person may choose for an event's id."""
JUNK_WORDS = frozenset((*_WORDS.split(), *_PHRASES.strip().replace("\n", ";").split(";")))
"""What programs, spreadsheets and analytics print when there is no value, and names of fields; in lower case."""

DELIMITERS: tuple[tuple[str, str], ...] = (
    *(("{{", "}}"), ("${", "}"), ("#{", "}"), ("@{", "}"), ("%{", "}"), ("{%", "%}"), ("{$", "}"), ("{!", "}")),
    *(("{#", "#}"), ("{*", "*}"), ("<!--", "-->"), ("$!{", "}"), ("*{", "}"), ("~{", "}"), ("&{", "}")),
    *(
        ("[(", ")]"),
        ("@(", ")"),
        ("%(", ")s"),
        ("[[", "]]"),
        ("[%", "%]"),
        ("[$", "]"),
        ("[@", "]"),
        ("$(", ")"),
        ("$[", "]"),
        ("*|", "|*"),
    ),
    *(("<<", ">>"), ("<%", "%>"), ("<?", "?>"), ("%%", "%%"), ("##", "##"), ("@@", "@@"), ("$$", "$$")),
    *(("||", "||"), ("~~", "~~"), ("!!", "!!"), ("^^", "^^")),
)
"""What encloses a macro, whatever it is called."""

NAME_DELIMITERS: tuple[tuple[str, str], ...] = (
    *(("{", "}"), ("[", "]"), ("<", ">"), ("%", "%"), ("__", "__"), ("#", "#"), ("$", "$"), ("@", "@"), ("|", "|")),
    *(("~", "~"), ("^", "^"), ("!", "!"), ("((", "))"), ("$!", ""), ("$", "")),
)
"""What encloses a macro if it has a macro's name: ids stand in braces, too."""

_ID = r"\{?(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16,})"
_NAME = rf"(?!{_ID}\W)[^\W\d](?:[\w.:|=?-]|(?<=\w)[ ](?=\w)){{0,63}}"
_NAME_ALONE = r"""[^\W\d](?:(?:->|[.-])?\w|\[['"]?\w{1,64}['"]?\]|\(\)){0,63};?(?!\w)"""
_LONGEST = 512
_LONGEST_WORD = 64
_REPEATED = re.compile(r"(?:(?:undefined|null|none|nan|nil)[-.:/|,_ ]?){2,}")
_SHORT = ("undefined", "null", "NaN", "None")

_ANY = "|".join(
    rf"{re.escape(opening)}(?!{_ID}\W)[^\n]{{1,64}}?{re.escape(closing)}" for opening, closing in DELIMITERS
)
_NAMED = "|".join(
    rf"{re.escape(opening)}{'(?!_)' if opening == '__' else ''}{_NAME if closing else _NAME_ALONE}{re.escape(closing)}"
    for opening, closing in NAME_DELIMITERS
)
_NAMED_MACROS = re.compile(
    rf"(?>(?:{_NAMED})[-.:/|,_ ]?)++"
)  # atomic: else time is exponential in the number of macros
_ANY_ID = re.compile(rf"{_ID}\W*")
_LAST_PART = re.compile(
    rf"(?:(?<![^\W_])(?:{'|'.join(_SHORT)})|\[object Object\]|\(not set\)"
    rf"|(?:{_ANY})|(?:(?<=[-:./|=,; _])|\A)(?:{_NAMED}))\Z"
)
UNFILLED_ENDINGS = (
    *_SHORT,
    "nan",
    "nil",
    "none",
    *map(str.upper, _SHORT),
    *{closing for _, closing in (*DELIMITERS, *NAME_DELIMITERS) if closing},
)
"""What an unfilled id ends with, but for a macro that begins with a dollar sign and has no end."""
_OPENING = re.compile(r"[^\w\s.:/-]|__|%|&")
"""Only what matches it can be a macro."""


def is_junk_word(text: str) -> bool:
    """Whether a text as a whole says that there is no value: empty, ``null``, ``(not set)``, ``---``, …"""
    if len(text) > _LONGEST_WORD:
        return False
    return any(map(_says_nothing, _forms(text)))


def _says_nothing(text: str) -> bool:
    word = text.strip().strip("\"'`").strip().lower()
    return (
        word in JUNK_WORDS
        or word.strip("()") in JUNK_WORDS
        or _REPEATED.fullmatch(word) is not None
        or (word.isascii() and not any(map(str.isalnum, word)))
    )


def is_macro(text: str) -> bool:
    """Whether a text consists of nothing but macros that were not replaced, whatever their delimiters."""
    if len(text) > _LONGEST or not _OPENING.search(text):
        return False
    return any(_is_enclosed(form) or _NAMED_MACROS.fullmatch(form) is not None for form in map(str.strip, _forms(text)))


def _is_enclosed(text: str) -> bool:
    """Whether a text begins and ends with delimiters of macros, and is no id between them."""
    for opening, closing in DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            content = text[len(opening) : -len(closing)]
            return any(map(str.isalnum, content)) and not _ANY_ID.fullmatch(content)
    return False


def is_unfilled(text: str) -> bool:
    """Whether a text as a whole is a junk word or a macro."""
    return is_junk_word(text) or is_macro(text)


def ends_unfilled(text: str) -> bool:
    """Whether the last part of an id is a macro, or one of the few words that only a program writes there."""
    if len(text) > _LONGEST:
        return False
    return any(
        (form.endswith(UNFILLED_ENDINGS) or "$" in form) and _LAST_PART.search(form) is not None
        for form in _forms(text)
    )


def _forms(text: str) -> Iterator[str]:
    """A text as it is, and decoded, unless its percent signs are delimiters."""
    yield text
    if ("%" in text or "&" in text or not text.isascii()) and not text.rstrip().endswith("%"):
        yield decoded(text)
