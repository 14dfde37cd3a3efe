# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.node import names
from workers.node.protocol import Refused, Remit

REMIT = Remit("lh", "/d", ())


@pytest.mark.parametrize("name", ["lh7-a", "lh7-node1", "lh123456789-frontend-root", "lh1-" + "a" * 40])
def test_a_name_with_our_mark_is_taken(name):
    assert names.marked(name, REMIT, "volume") == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "lh",
            "lh7",
            "lh7-",
            "lh-a",
            "lh0-a",
            "lh07-a",
            "lh1234567890-a",
            "LH7-a",
            "lh7_a",
            "lh7-A",
            "7-a",
        ),
        *(
            "lh7--a",
            "lh7-a-",
            "lh7-a.b",
            "lh7-a/b",
            "lh7-a\n",
            "\nlh7-a",
            "lh7-ä",
            "lh7-" + "a" * 41,
            "-lh7-a",
        ),
    ],
)
def test_what_is_no_name_is_a_bad_request(name):
    with pytest.raises(Refused) as refused:
        names.marked(name, REMIT, "volume")
    assert refused.value.error.code == "bad_request"


@pytest.mark.parametrize("name", ["xy7-a", "l7-a", "lhx7-a"])
def test_another_mark_is_out_of_remit(name):
    with pytest.raises(Refused) as refused:
        names.marked(name, REMIT, "volume")
    assert refused.value.error.code == "out_of_remit"


def assert_short(message: str) -> None:
    assert len(message) < 200


@given(st.text())
def test_whatever_is_taken_is_a_plain_word(text):
    try:
        words = names.marked(text, REMIT, "volume").replace("-", "")
    except Refused as refused:
        words = refused.error.message.replace(" ", "")
        assert_short(words)
    else:
        assert words.isalnum()
    assert words.isprintable()


@given(st.text(alphabet="ab./-_@+ \n\\\0"))
def test_a_file_name_never_leads_out_of_its_folder(text):
    try:
        path = names.file_name(text, "a file")
    except Refused:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))
    assert not any(part.startswith("-") for part in path.split("/"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"size": 1}, '"name" is missing'),
        ({"name": "a"}, '"size" is missing'),
        ({"name": "a", "size": True}, '"size" is of the wrong type'),
        ({"name": "a", "size": 1.0}, '"size" is of the wrong type'),
        ({"name": None, "size": 1}, '"name" is of the wrong type'),
        ({"name": "a", "size": 1, "x\n": 1}, "unknown argument 'x\\n'"),
    ],
)
def test_arguments_are_exactly_those_asked_for(args, says):
    with pytest.raises(Refused, match="argument") as refused:
        names.take(args, name=str, size=int)
    assert says in refused.value.error.message


@pytest.mark.parametrize("address", ["127.0.0.1", "198.18.0.11"])
def test_the_address_of_a_host_is_taken(address):
    assert names.address(address, "local") == address


@pytest.mark.parametrize(
    "address", ["", "1.2.3", "1.2.3.4/8", "::1", "0.0.0.0", "224.0.0.1", "255.255.255.255", 1]
)
def test_other_addresses_are_refused(address):
    with pytest.raises(Refused):
        names.address(address, "local")


@pytest.mark.parametrize(
    "secret", ["", "short", "a" * 129, "with a space in it", "with,comma,in,it", "ünïcödé-secret"]
)
def test_a_refused_secret_is_not_shown(secret):
    with pytest.raises(Refused) as refused:
        names.password(secret)
    assert not secret or secret not in refused.value.error.message


# What rtslib 2.1.75 (normalize_wwn) says of names as an ACL's: it takes those, and keeps them as they are.
@pytest.mark.parametrize(
    "name",
    [
        "iqn.1993-08.org.debian:01:7c1f0f2b8a11",
        "iqn.2026-11.org.leasehold.lab:x1",
        "iqn.2026-11.org.example",
        "eui.0014050000000001",
        "naa.5001405abcdef012",
    ],
)
def test_an_initiator_s_name_is_what_the_kernel_s_target_takes(name):
    assert names.initiator(name) == name


# It refuses the first ones; of the others it keeps another name, or they are against RFC 7143.
@pytest.mark.parametrize(
    "name",
    [
        *("", "c1", "iqn.2026-11.lab:x1", "iqn.26-11.org.example:x1", "iqn.2026-23.org.example:x1"),
        *("iqn.2026-11.org.example:x_1", "iqn.2026-11.org.example:x 1", "eui.001405", "naa.7001405abcdef012"),
        *("IQN.2026-11.org.example:x1", "iqn.2026-11.org.Example:x1", "naa.5001405ABCDEF012"),
        *("5001405abcdef012", "eui.00:14:05:00:00:00:00:01", "iqn.2026-13.org.example:x1"),
        *("iqn.2026-11.org..example:x1", "iqn.2026-11.org.example:", "iqn.2026-11.org.example:x1\n"),
        "iqn.2026-11.org.example:" + "x" * 200,
    ],
)
def test_any_other_initiator_s_name_is_refused(name):
    assert not names.is_initiator(name)
    with pytest.raises(Refused, match="initiator must be"):
        names.initiator(name)


def test_a_target_ends_in_a_name_of_ours():
    assert names.target("iqn.2026-11.org.leasehold:lh7-a", REMIT)
    for target in (
        "iqn.2026-11.org.leasehold:a",
        "lh7-a",
        "iqn.x:lh7-a",
        "iqn.2026-11.org.leasehold:xy7-a",
    ):
        with pytest.raises(Refused):
            names.target(target, REMIT)
