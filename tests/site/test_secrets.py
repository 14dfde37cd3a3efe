# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The derived host key as OpenSSH itself sees it."""

import subprocess
from pathlib import Path

from workers.engine.secrets import derive, host_public_key


def test_ssh_keygen_reads_the_derived_host_key_and_agrees_on_its_public_half(tmp_path: Path):
    key = bytes(range(32))
    for cluster in ("lh1", "lh7", "lh4093"):
        path = tmp_path / cluster
        path.touch(mode=0o600)
        path.write_text(derive(key, f"hostkey:{cluster}"))
        run = subprocess.run(
            ["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, timeout=30, check=True
        )
        assert run.stdout.split()[:2] == host_public_key(key, cluster).split()
