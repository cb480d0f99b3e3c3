"""Licences: what packages say of themselves, in SPDX's words, and nothing made up."""

from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from envbuilder.evidence.licenses import license_of_debian, license_of_metadata


def metadata(**headers: str | list[str]) -> Message:
    message = Message()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("headers", "expression"),
    [
        ({"License_Expression": "mit or apache-2.0", "License": "BSD"}, "MIT OR Apache-2.0"),
        ({"License": "Apache 2.0"}, "Apache-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "GPLv3"}, "LicenseRef-GPLv3"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"License": "line\nline", "Classifier": ["License :: OSI Approved"]}, ""),
        (
            {"Classifier": ["License :: OSI Approved :: MIT License",
                            "License :: OSI Approved :: Apache Software License",
                            "Programming Language :: Python"]},
            "LicenseRef-Apache-Software-License AND MIT",
        ),
        ({"License_Expression": "no such thing"}, "LicenseRef-no-such-thing"),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_python_package_s(headers, expression):
    assert license_of_metadata(metadata(**headers)).expression == expression


@pytest.mark.parametrize(
    ("synopses", "expression"),
    [
        (["GPL-2+"], "GPL-2.0-or-later"),
        (["GPL-2"], "GPL-2.0-only"),
        (["LGPL-2.1+", "Expat"], "LGPL-2.1-or-later AND MIT"),
        (["GPL-1+ or Artistic"], "Artistic-1.0 OR GPL-1.0-or-later"),
        (
            ["GPL-1+ or Artistic", "MIT and ISC"],
            "(Artistic-1.0 OR GPL-1.0-or-later) AND ISC AND MIT",
        ),
        (["BSD-3-clause", "bsd-3-CLAUSE"], "BSD-3-Clause"),
        (["GFDL-NIV-1.3+"], "GFDL-1.3-no-invariants-or-later"),
        (["public-domain"], "LicenseRef-public-domain"),
        (["GPL-3+ with Bison exception"], "LicenseRef-GPL-3-or-later-with-Bison-exception"),
        (["A and B or C"], "LicenseRef-A-and-B-or-C"),
        (["???"], "LicenseRef-unnamed"),
        ([], ""),
    ],
)
def test_a_debian_package_s(synopses, expression):
    assert license_of_debian(synopses).expression == expression


def test_a_reference_keeps_the_package_s_own_word():
    found = license_of_debian(["public-domain", "Khronos  licence"])
    assert found.named == (
        ("LicenseRef-Khronos-licence", "Khronos licence"),
        ("LicenseRef-public-domain", "public-domain"),
    )


@given(st.lists(st.text(max_size=30)))
def test_whatever_stands_there_becomes_an_expression(lines):
    for found in (
        license_of_debian(lines),
        license_of_metadata(metadata(License="x", Classifier=lines)),
    ):
        if found.expression:
            canonicalize_license_expression(found.expression)
