"""Distinguished names are one when an LDAP server takes them for one; filters are filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.ldap_text import check_filter, escaped, normal_dn


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("uid=ann,dc=x", "UID=ANN,DC=X"),
        ("uid=ann,dc=x", " uid = ann , dc = x "),
        ("uid=ann,dc=x", "uid=ann;dc=x"),
        ("cn=a b", "cn=A   B"),
        ("cn=a b", "cn=\\20a\\20b\\ "),
        ("cn=a\\,b", "cn=a\\2Cb"),
        ("cn=a\\\\b", "cn=a\\5cb"),
        ("cn=\\#a", "cn=\\23a"),
        ("cn=a=b", "cn=a\\=b"),
        ("cn=é", "cn=\\c3\\A9"),
        ("cn=é", "cn=e\u0301"),
        ("cn=STRASSE", "cn=straße"),
        ("cn=a+uid=b,dc=x", "UID=b + cn=a,dc=x"),
    ],
)
def test_two_forms_of_one_name_are_alike(one: str, other: str) -> None:
    assert normal_dn(one) == normal_dn(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("uid=ann,dc=x", "uid=ann,dc=y"),
        ("uid=ann,dc=x", "uid=ann"),
        ("uid=ann,dc=x", "dc=x,uid=ann"),
        ("uid=ann,dc=x", "uid=ann+dc=x"),
        ("uid=ann,dc=x", "uid=ann\\,dc=x"),
        ("uid=ann,dc=x", "cn=ann,dc=x"),
        ("cn=a b", "cn=ab"),
        ("cn=a\\+b=c", "cn=a+b=c"),
    ],
)
def test_names_of_two_entries_differ(one: str, other: str) -> None:
    assert normal_dn(one) != normal_dn(other)


@pytest.mark.parametrize(
    "text", ["", "ann", "uid=a,", ",uid=a", "=a", "uid=a,,dc=x", "u id=a", 'cn="a,b"', "cn=a\\"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no distinguished name"):
        normal_dn(text)


values = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).map(str.encode)


@given(st.lists(values, min_size=1, max_size=3))
def test_whatever_is_escaped_stays_in_its_part(parts: list[bytes]) -> None:
    name = ",".join(f"cn={escaped(value)}" for value in parts)
    alone = [normal_dn(f"cn={escaped(value)}") for value in parts]
    assert normal_dn(name) == ",".join(alone)


@given(values)
def test_a_normal_form_is_its_own(value: bytes) -> None:
    name = normal_dn(f"cn={escaped(value)}")
    if not set('";<>') & set(name):
        assert normal_dn(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("(cn=a)", "(cn=*)", "(cn=)", "(cn=a*b*c)", "(cn=*a*)", "(cn;lang-en=a)", "(2.5.4.3=a)"),
        *("(cn>=a)", "(cn<=a)", "(cn~=a)", "(cn=a=b)", "(cn=\\2a\\28)", "(cn=é, b)"),
        *("(cn:=a)", "(cn:dn:=a)", "(cn:dn:2.5.13.5:=a)", "(:caseExactMatch:=a)", "(:dn:2.5:=a)"),
        *("(!(cn=a))", "(&(cn=a))", "(|(a=1)(&(b=2)(!(c=3)))(d=4))", " ( & (a=1)\n (b=2) ) "),
    ],
)
def test_a_filter_is_one(text: str) -> None:
    check_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "cn=a", "(cn=a", "cn=a)", "(cn=a))", "(cn=a)(cn=b)", "()", "(cn)", "(=a)", "(c n=a)"),
        *(
            "(cn=a(b)",
            "(cn=\\2)",
            "(cn=\\zz)",
            "(cn>=*)",
            "(&)",
            "(!)",
            "(!(cn=a)(cn=b))",
            "(&cn=a)",
        ),
        *("(:=a)", "(:dn:=a)", "((cn=a))", "(&(cn=a)x)", "(cn=a)x"),
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no filter"):
        check_filter(text)


@given(st.binary())
def test_whatever_is_escaped_is_a_value_of_a_filter_and_nothing_else(value: bytes) -> None:
    check_filter(f"(uid={escaped(value)})")
    assert set(escaped(value)) <= set("\\0123456789abcdef")
    assert bytes.fromhex(escaped(value).replace("\\", " ")) == value
