# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The image operation on a real host: a build apart from the session, killed, failed, and done."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.site.scratch_host import DIR, ScratchHost, changed, everything

pytestmark = [pytest.mark.site, pytest.mark.timeout(300)]

BUILD = """#!/bin/bash
set -eu
read -r how < "$(dirname "$0")/how"
echo "building $3 into $1"
mount -t tmpfs tmpfs /mnt
if [ "$how" = slow ]; then truncate -s "$2" "$1"; losetup -f "$1"; sleep 300; fi
if [ "$how" = fail ]; then echo "E: Unable to locate package nonesuch"; exit 3; fi
truncate -s "$2" "$1"
"""


def build(how: str) -> dict[str, Any]:
    files = {"build": BUILD, "how": f"{how}\n", "scripts/BASE/10-x": "true\n"}
    modes = {"build": "0755"}
    return {"image": "node-0123456789ab", "size_mib": 4, "classes": ["BASE"], "files": files, "modes": modes}


def settled(host: ScratchHost, args: dict[str, Any]) -> Any:
    """The first answer that is not pending."""
    until = time.monotonic() + 60
    while (reply := host.ask(("image", "present", args))[0]).state == "pending":
        assert time.monotonic() < until
        time.sleep(0.1)
    return reply


def test_an_image_is_built_apart_from_the_session(clean):
    first = clean.one("image", "present", build("slow"))
    assert (first.state, first.changed) == ("pending", True)
    until = time.monotonic() + 20
    while not everything(clean)["loops"]:
        assert time.monotonic() < until
    later = clean.one("image", "present", build("slow"))
    assert (later.state, later.changed) == ("pending", False)
    assert "building BASE into" in later.why
    clean.run("pkill", "-9", "-f", "helper.pyz job")
    again = clean.one("image", "present", build("well"))
    assert again.changed, "a build that vanished is started again"
    assert settled(clean, build("well")).state == "present"
    assert clean.path(f"{DIR}/images/node-0123456789ab.raw").stat().st_size == 4 << 20
    assert clean.run("pgrep", "-f", "node-0123456789ab", check=False) == ""
    assert f"{DIR}/" not in clean.run("findmnt", "-rno", "TARGET")
    assert everything(clean)["loops"] == 0, "the loop device of the build that was killed is free again"
    changed(clean, "image", "absent", build("well"))


def test_a_failed_build_is_told_once_with_its_last_words(clean):
    reply = settled(clean, build("fail"))
    assert reply.error.code == "image_failed"
    assert reply.error.retryable
    assert "status 3" in reply.error.message
    assert "Unable to locate package nonesuch" in reply.error.message
    assert "nonesuch" in clean.path(f"{DIR}/jobs/node-0123456789ab.log").read_text()
    assert clean.one("image", "present", build("slow")).state == "pending", "asked again, it is tried again"
    changed(clean, "image", "absent", build("slow"))
    assert clean.run("pgrep", "-f", "node-0123456789ab", check=False) == ""
