"""Identifiers: what is repaired, what is dropped, what fails, and that nothing of them can be read afterwards."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from postback.events.event import Uid, UserMatch
from postback.events.identifiers import KEY_BYTES, KINDS, IdentifierHasher
from postback.events.match_quality import PRIORS, event_quality
from postback.events.rejection import Rejection
from postback.events.warnings import warning_codes

HASHER = IdentifierHasher(b"s" * 32)
EMAIL = sha256(b"jane@shop.example").hexdigest()
PHONE = sha256(b"+12065551234").hexdigest()
PRIVATE_ADDRESSES = (
    *("10.0.0.1", "127.0.0.1", "172.31.255.255", "192.168.1.20", "169.254.1.1", "100.64.0.1", "0.0.0.0"),
    *("255.255.255.255", "::1", "fe80::1", "fd00::1", "::ffff:192.168.0.1"),
)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"


def kinds_of(keys: bytes) -> list[str]:
    """The kinds of identifier behind concatenated match keys, in order."""
    return [KINDS[keys[start]] for start in range(0, len(keys), KEY_BYTES)]


def match(**user_match: Any) -> tuple[bytes, list[str]]:
    notes: list[str] = []
    return HASHER.match(msgspec.convert(user_match, UserMatch), notes), warning_codes(notes)


def refused(**user_match: Any) -> Rejection:
    with pytest.raises(Rejection) as caught:
        match(**user_match)
    return caught.value


@pytest.mark.parametrize(
    ("user_match", "kinds"),
    [
        ({"hashed_email": EMAIL}, ["hashed_email"]),
        ({"hashed_phone": PHONE}, ["hashed_phone"]),
        ({"click_id": "CjwKCAjw", "click_id_type": "gclid"}, ["click_id"]),
        ({"client_ip": "8.8.8.8", "client_user_agent": BROWSER}, ["client_ip+client_user_agent"]),
        ({"uids": [{"type": "uid2", "value": "A4AAAD"}, {"type": "id5", "value": "ID5*x"}]}, ["uid:uid2", "uid:id5"]),
        ({"uids": [{"type": "hashed_email", "value": EMAIL}]}, ["hashed_email"]),
    ],
)
def test_each_identifier_gives_a_key_of_its_kind(user_match: dict[str, Any], kinds: list[str]) -> None:
    keys, notes = match(**user_match)
    assert kinds_of(keys) == kinds
    assert len(keys) == KEY_BYTES * len(kinds)
    assert notes == []


@pytest.mark.parametrize(
    "written", [EMAIL.upper(), f"  {EMAIL}\n", f"0x{EMAIL}", f"sha256:{EMAIL}", f" SHA256:{EMAIL.upper()}"]
)
def test_a_digest_is_repaired_to_the_same_key(written: str) -> None:
    assert match(hashed_email=written)[0] == match(hashed_email=EMAIL)[0]
    assert match(hashed_email=written)[1] == ["REPAIRED_IDENTIFIER"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"client_ip": "2001:DB8::0001"}, {"client_ip": "2001:db8:0:0:0:0:0:1"}),
        ({"client_ip": "::ffff:8.8.8.8"}, {"client_ip": "8.8.8.8"}),
        ({"client_ip": " 8.8.8.8 "}, {"client_ip": "8.8.8.8"}),
    ],
)
def test_an_address_has_one_key_however_it_is_written(left: dict[str, str], right: dict[str, str]) -> None:
    assert match(client_user_agent=BROWSER, **left)[0] == match(client_user_agent=BROWSER, **right)[0]


def test_an_advertising_id_has_one_key_in_either_case() -> None:
    uid = "38400000-8CF0-11BD-B23E-10B96E40000D"
    lower, upper = ({"uids": [{"type": "maid", "value": value}]} for value in (uid.lower(), uid))
    assert match(**lower)[0] == match(**upper)[0]


@pytest.mark.parametrize(
    ("user_match", "code"),
    [
        ({"hashed_email": md5(b"jane").hexdigest()}, "UNSUPPORTED_HASH"),
        ({"hashed_email": "a" * 40}, "UNSUPPORTED_HASH"),
        ({"hashed_phone": "ab" * 64}, "UNSUPPORTED_HASH"),
        ({"hashed_email": sha256(b"").hexdigest()}, "JUNK_IDENTIFIER"),
        ({"hashed_email": sha256(b"null").hexdigest()}, "JUNK_IDENTIFIER"),
        ({"hashed_email": sha256(b"test@test.com").hexdigest().upper()}, "JUNK_IDENTIFIER"),
        ({"hashed_phone": sha256(b"undefined").hexdigest()}, "JUNK_IDENTIFIER"),
        ({"hashed_email": ""}, "JUNK_IDENTIFIER"),
        ({"hashed_email": "null"}, "JUNK_IDENTIFIER"),
        ({"click_id": "{{gclid}}"}, "UNEXPANDED_MACRO"),
        ({"click_id": "${CLICK_ID}"}, "UNEXPANDED_MACRO"),
        ({"click_id": "%%CLICK_URL%%"}, "UNEXPANDED_MACRO"),
        ({"click_id": "{gclid}"}, "UNEXPANDED_MACRO"),
        ({"click_id": "__CLICKID__"}, "UNEXPANDED_MACRO"),
        ({"click_id": "undefined"}, "JUNK_IDENTIFIER"),
        ({"click_id": "  "}, "JUNK_IDENTIFIER"),
        ({"uids": [{"type": "maid", "value": "00000000-0000-0000-0000-000000000000"}]}, "JUNK_IDENTIFIER"),
        ({"client_ip": "8.8.8.8"}, "INCOMPLETE_IP_MATCH"),
        ({"client_user_agent": BROWSER}, "INCOMPLETE_IP_MATCH"),
        ({"client_ip": "not an address", "client_user_agent": BROWSER}, "INVALID_CLIENT_IP"),
        *(({"client_ip": ip, "client_user_agent": BROWSER}, "PRIVATE_IP") for ip in PRIVATE_ADDRESSES),
    ],
)
def test_what_identifies_nobody_is_dropped_with_a_warning(user_match: dict[str, Any], code: str) -> None:
    good = {"hashed_email": EMAIL} if "hashed_phone" in user_match else {"hashed_phone": PHONE}
    keys, notes = match(**good, **user_match)
    assert notes == [code]
    assert len(keys) == KEY_BYTES
    assert refused(**user_match).reason == "MISSING_USER_MATCH"


JUNK_TEXTS = [
    *("", " ", "\n", "\r\n", "\\N", "#N/A", "[]", "Array", "[object Object]", "null", "undefined", "None", "NaN", "0"),
    *("null\n", "test@test.com", "{{email}}", "${email}", "%%EMAIL%%", "000000", "+00000000000", "0" * 15),
    *("+1", "+49", "49", "0049", "+44", "+971", "+380", "+86", "+1000000000", "+49undefined"),
    *("\r", "---", '"null"', "nullnull", "TEST@TEST.COM", "{{ customer.email }}", "+undefined", "+49 ", "+49NaN"),
    *("49null", "(+49)", "+4900000000", sha256(b"+49").hexdigest(), sha256(b"Array").hexdigest()),
]


@pytest.mark.parametrize("text", JUNK_TEXTS)
@pytest.mark.parametrize("field", ["hashed_email", "hashed_phone"])
def test_the_digest_of_nothing_is_dropped(text: str, field: str) -> None:
    good = {"click_id": "CjwKCAjw"}
    assert match(**good, **{field: sha256(text.encode()).hexdigest()})[1] == ["JUNK_IDENTIFIER"]


@pytest.mark.parametrize("code", sorted(COUNTRY_CODE_TO_REGION_CODE))
def test_the_digest_of_any_country_code_alone_is_dropped(code: int) -> None:
    for text in (f"+{code}", f"{code}", f"00{code}"):
        assert match(click_id="CjwKCAjw", hashed_phone=sha256(text.encode()).hexdigest())[1] == ["JUNK_IDENTIFIER"]


@pytest.mark.parametrize("text", ["", "null", "undefined", " ", "None", "test@test.com"])
@pytest.mark.parametrize("first", [sha256, md5])
def test_the_digest_of_a_digest_of_nothing_is_dropped(text: str, first: Any) -> None:
    once = first(text.encode()).hexdigest()
    twice = sha256(once.encode()).hexdigest()
    for digest in (twice, sha256(once.upper().encode()).hexdigest(), sha256(twice.encode()).hexdigest()):
        assert match(click_id="CjwKCAjw", hashed_email=digest)[1] == ["JUNK_IDENTIFIER"]


@pytest.mark.parametrize(
    "text", ["jane@shop.example", "+12065551234", "+4930901000123", "john.null@shop.example", "1001"]
)
def test_the_digest_of_an_address_or_a_number_is_used(text: str) -> None:
    assert match(hashed_email=sha256(text.encode()).hexdigest())[1] == []


@pytest.mark.parametrize("value", ["{{hashed_email}}", "${EMAIL_SHA256}", "%%EMAIL%%", "<hashed_email>", "$EMAIL"])
def test_a_macro_in_place_of_a_digest_is_dropped(value: str) -> None:
    assert match(click_id="CjwKCAjw", hashed_email=value)[1] == ["UNEXPANDED_MACRO"]


@pytest.mark.parametrize("digit", "01f7")
def test_an_advertising_id_of_one_repeated_digit_is_dropped(digit: str) -> None:
    uid = "-".join(digit * length for length in (8, 4, 4, 4, 12))
    for value in (uid, uid.upper(), uid.replace("-", "")):
        assert match(click_id="CjwKCAjw", uids=[{"type": "maid", "value": value}])[1] == ["JUNK_IDENTIFIER"]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("10.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9,198.51.100.7", "203.0.113.9"),
        ("unknown, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:443", "203.0.113.9"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:DB8::1, 10.0.0.1", "2001:db8::1"),
        ("for=203.0.113.9;proto=https", "203.0.113.9"),
        (", ".join(["10.0.0.1"] * 20 + ["203.0.113.9:80"]), "203.0.113.9"),
    ],
)
def test_the_first_public_address_of_a_list_is_read(sent: str, read: str) -> None:
    assert match(client_ip=sent, client_user_agent=BROWSER)[0] == match(client_ip=read, client_user_agent=BROWSER)[0]
    assert match(client_ip=sent, client_user_agent=BROWSER)[1] == ["REPAIRED_IDENTIFIER"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("10.0.0.1, 192.168.1.1", "PRIVATE_IP"),
        ("10.0.0.1:8080", "PRIVATE_IP"),
        ("[::1]:443", "PRIVATE_IP"),
        ("999.1.1.1, x", "INVALID_CLIENT_IP"),
        ("203.0.113.9:443:7", "INVALID_CLIENT_IP"),
        ("203.0.113.9/24", "INVALID_CLIENT_IP"),
        ("{{ip}}", "UNEXPANDED_MACRO"),
        ("undefined", "JUNK_IDENTIFIER"),
    ],
)
def test_a_list_without_a_public_address_is_dropped(sent: str, code: str) -> None:
    assert match(click_id="CjwKCAjw", client_ip=sent, client_user_agent=BROWSER)[1] == [code]


@pytest.mark.parametrize(
    ("user_match", "told"),
    [
        (
            {"client_ip": "10.0.0.1", "client_user_agent": BROWSER},
            "client_ip is from a private or reserved network (PRIVATE_IP)",
        ),
        ({"hashed_email": "null"}, "hashed_email is empty, a placeholder, or the digest of one (JUNK_IDENTIFIER)"),
        (
            {"hashed_email": "a" * 32, "click_id": "{{gclid}}"},
            "hashed_email is a digest other than SHA-256 (UNSUPPORTED_HASH); click_id is an unexpanded macro "
            "(UNEXPANDED_MACRO)",
        ),
        (
            {"client_ip": "nowhere", "client_user_agent": "undefined"},
            "client_ip is not an IP address (INVALID_CLIENT_IP); client_user_agent is empty, a placeholder, or the "
            "digest of one (JUNK_IDENTIFIER)",
        ),
        ({"client_ip": "203.0.113.7"}, "client_ip identifies nobody alone (INCOMPLETE_IP_MATCH)"),
        (
            {"uids": [{"type": "maid", "value": "0" * 32}, {"type": "id5", "value": "null"}]},
            "uids is empty, a placeholder, or the digest of one (JUNK_IDENTIFIER)",
        ),
    ],
)
def test_each_dropped_identifier_is_named_with_its_reason_when_none_is_left(
    user_match: dict[str, Any], told: str
) -> None:
    rejection = refused(**user_match)

    assert (rejection.reason, rejection.field) == ("MISSING_USER_MATCH", "user_match")
    assert rejection.message.startswith(f"user_match has no usable identifier: {told}. Send at least one of uids, ")


@pytest.mark.parametrize(
    "ip", ["9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "203.0.113.7", "2001:db8::7"]
)
def test_public_and_documentation_addresses_are_used(ip: str) -> None:
    assert match(client_ip=ip, client_user_agent=BROWSER)[1] == []


def test_a_digest_that_was_typed_is_kept_with_a_warning() -> None:
    """Official storyboards log such digests."""
    keys, notes = match(hashed_email=f"a{'0' * 61}10")
    assert notes == ["LOW_ENTROPY_IDENTIFIER"]
    assert kinds_of(keys) == ["hashed_email"]


@pytest.mark.parametrize(
    ("user_match", "field"),
    [
        ({"hashed_email": "jane@shop.example"}, "user_match.hashed_email"),
        ({"hashed_email": "jane%40shop.example"}, "user_match.hashed_email"),
        ({"hashed_email": "jane smith"}, "user_match.hashed_email"),
        ({"hashed_phone": "+1 206 555 1234"}, "user_match.hashed_phone"),
        ({"hashed_phone": "(206) 555-1234"}, "user_match.hashed_phone"),
        ({"hashed_phone": "2065551234"}, "user_match.hashed_phone"),
        ({"click_id": "jane@shop.example"}, "user_match.click_id"),
        ({"click_id": "+12065551234"}, "user_match.click_id"),
        ({"uids": [{"type": "uid2", "value": "jane@shop.example"}]}, "user_match.uids[0].value"),
        ({"uids": [{"type": "hashed_email", "value": "jane@shop.example"}]}, "user_match.uids[0].value"),
        ({"uids": [{"type": "cookie", "value": "x"}]}, "user_match.uids[0].type"),
    ],
)
def test_what_should_have_been_hashed_fails_and_is_not_repeated(user_match: dict[str, Any], field: str) -> None:
    rejection = refused(hashed_phone=PHONE, **user_match) if "hashed_phone" not in user_match else refused(**user_match)
    assert (rejection.reason, rejection.field) == ("INVALID_REQUEST", field)
    for told in ("jane", "206", "1234", "cookie"):
        assert told not in rejection.message.replace("+12065551234", "")


def test_quality_grows_with_every_identifier() -> None:
    one, two = match(hashed_email=EMAIL)[0], match(hashed_email=EMAIL, click_id="CjwKCAjw")[0]
    assert event_quality(one[::KEY_BYTES]) == pytest.approx(PRIORS["hashed_email"])
    assert event_quality(two[::KEY_BYTES]) == pytest.approx(1 - (1 - PRIORS["hashed_email"]) * (1 - PRIORS["click_id"]))


def test_the_key_says_nothing_without_the_secret() -> None:
    elsewhere = IdentifierHasher(b"t" * 32).match(UserMatch(hashed_email=EMAIL), [])
    here = match(hashed_email=EMAIL)[0]
    assert elsewhere[:1] == here[:1]
    assert elsewhere[1:] != here[1:]


def test_the_same_value_as_another_kind_is_another_key() -> None:
    assert match(hashed_email=EMAIL)[0][1:] != match(hashed_phone=EMAIL)[0][1:]


def test_kinds_keep_their_stored_numbers() -> None:
    """These bytes are on disk: changing one would give old keys another meaning."""
    assert {number: kind for number, kind in KINDS.items() if number < 20} == {
        1: "hashed_email",
        2: "hashed_phone",
        3: "click_id",
        4: "client_ip+client_user_agent",
        16: "uid:rampid",
        17: "uid:rampid_derived",
        18: "uid:id5",
        19: "uid:uid2",
    }


@given(
    st.builds(
        UserMatch,
        uids=st.none()
        | st.lists(st.builds(Uid, st.sampled_from(["uid2", "maid", "hashed_email", "x"]), st.text()), max_size=3),
        hashed_email=st.none() | st.text() | st.just(EMAIL),
        hashed_phone=st.none() | st.text() | st.from_regex(r"\+?[0-9 ()-]{5,16}", fullmatch=True),
        click_id=st.none() | st.text(),
        client_ip=st.none() | st.text() | st.ip_addresses().map(str),
        client_user_agent=st.none() | st.text(),
    )
)
def test_any_text_gives_keys_or_a_reason_without_the_text(user_match: UserMatch) -> None:
    outcome = matched_or_refused(user_match)
    if isinstance(outcome, Rejection):
        values = (user_match.hashed_email, user_match.hashed_phone, user_match.click_id, user_match.client_ip)
        assert not any(value and len(value) > 12 and value in outcome.message for value in values)
    else:
        assert 0 < event_quality(outcome[::KEY_BYTES]) < 1
        assert len(outcome) % KEY_BYTES == 0


def matched_or_refused(user_match: UserMatch) -> bytes | Rejection:
    try:
        return HASHER.match(user_match, [])
    except Rejection as rejection:
        return rejection
