"""Host names are compared in one form, whichever way a buyer, a seller or a browser writes them."""

from __future__ import annotations

import pytest

from postback.protocol.hostnames import normal_hostname, url_hostname


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("Shop.EXAMPLE", "shop.example"),
        ("shop.example.", "shop.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("STRASSE.example", "strasse.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("\uff33\uff28\uff2f\uff30.example", "shop.example"),
        ("shop\u3002example\u3002", "shop.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("r3---sn-4g5.example", "r3---sn-4g5.example"),
    ],
)
def test_spellings_of_one_host_have_one_form(written: str, compared: str) -> None:
    assert normal_hostname(written) == compared


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..example",
        "shop.example..",
        "-a.example",
        "a_b.example",
        "ü b.example",
        "☃.example",
        "\u200d.example",
        f"{'a' * 64}.example",
        f"{'ü' * 63}.example",
        "a." * 127 + "a",
        "ü." * 127 + "ü",
        "ü" * 100_000,
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_what_is_not_a_host_name_has_none(text: str) -> None:
    assert normal_hostname(text) is None


@pytest.mark.parametrize(
    ("host", "compared"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("b%C3%BCcher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example.", "xn--bcher-kva.example"),
        ("Shop.Example", "shop.example"),
        ("a_b.example", "a_b.example"),
        ("2001:DB8::1", "2001:db8::1"),
        ("shop.example%2Fevil.example", "shop.example%2fevil.example"),
    ],
)
def test_the_host_of_a_url_has_the_same_form(host: str, compared: str) -> None:
    assert url_hostname(host) == compared
