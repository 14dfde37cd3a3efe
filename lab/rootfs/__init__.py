# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The root file system of the machine hosts, with kernel, initrd and Xen; cached by what it is made from."""

import functools
import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.run import LabError, run

CACHE = Path("/var/cache/leasehold/machine")
SUITE = "bookworm"  # whatever this machine runs: Xen's packages bear its version in their names
HERE = Path(__file__).parent
FILES = HERE / "files"
SIZE = 4 << 30
BUILD_S = 1800

UNITS_ON = (
    "lab-identity.service",
    "lab-volumes.service",
    "var-lib-leasehold-images.mount",
    "systemd-networkd.service",
)
# None of these is of use to a host that lives for minutes, and each takes seconds of a slow processor.
UNITS_OFF = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "libvirt-guests.service",
    "systemd-networkd-wait-online.service",
    "tgt.service",
)
UNITS_MASKED = (
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-logind.service",
    "systemd-machined.service",
)
# Each host gets keys and a machine id of its own. The empty file says that this is no first boot, at which
# systemd would switch on every service that it finds.
FINISH = (
    'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1"/etc/machine-id; mkdir -p -m 700 "$1"/etc/target',
    f'chroot "$1" systemctl --quiet enable {" ".join(UNITS_ON)}',
    f'chroot "$1" systemctl --quiet disable {" ".join(UNITS_OFF)}',
    f'chroot "$1" systemctl --quiet mask {" ".join(UNITS_MASKED)}',
)


@dataclass(frozen=True)
class Root:
    """`disk` is a raw file system without partitions, to be written to through an overlay only."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "root.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def xen(self) -> Path:
        return self.folder / "xen"


def packages() -> list[str]:
    """The Debian packages named in packages.txt."""
    lines = (line.partition("#")[0].strip() for line in (HERE / "packages.txt").read_text().splitlines())
    return [line for line in lines if line]


@functools.cache
def ensure() -> Root:
    """The root file system, made if the cache has none from the same packages and files (some minutes); looked for
    once in the life of a process."""
    root = Root(CACHE / _key())
    if root.folder.exists():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=CACHE) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        _build(Path(scratch), Root(made))
        try:
            made.rename(root.folder)
        except OSError:
            if not root.folder.exists():  # somebody else was faster otherwise
                raise
    return root


def archive(files: Mapping[str, tuple[str | bytes, int]]) -> bytes:
    """A tar of these files, owned by root: path from / -> content, mode. Folders are made with mode 0755."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, (content, mode) in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _key() -> str:
    listed = packages()
    versions = run(["apt-cache", "show", "--no-all-versions", *listed], timeout_s=300, check=False).stdout
    sums = [line for line in versions.splitlines() if line.startswith("SHA256")]
    made_from = repr((SUITE, SIZE, FINISH, listed, sums, sorted(_files().items())))
    return hashlib.sha256(made_from.encode()).hexdigest()[:12]


def _files() -> dict[str, tuple[bytes, int]]:
    found = (path for path in sorted(FILES.rglob("*")) if path.is_file())
    return {str(path.relative_to(FILES)): (path.read_bytes(), 0o644) for path in found}


def _build(scratch: Path, made: Root) -> None:
    tree, files = scratch / "tree", scratch / "files.tar"
    files.write_bytes(archive(_files()))
    hooks = [f"--essential-hook=tar-in {files} /", *(f"--customize-hook={line}" for line in FINISH)]
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages())}"]
    argv += ["--aptopt=APT::Install-Recommends false", "--dpkgopt=force-unsafe-io", *hooks, SUITE, str(tree)]
    run(argv, timeout_s=BUILD_S, called="mmdebstrap (root file system of the machine hosts)")
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*"), ("xen", "xen-*-amd64.gz")):
        found = sorted((tree / "boot").glob(pattern))
        if len(found) != 1:
            raise LabError(f"{tree}/boot: {len(found)} files are called {pattern}, and one was expected")
        opened = gzip.open if found[0].suffix == ".gz" else open  # QEMU starts no compressed Xen
        with opened(found[0], "rb") as packed, (made.folder / name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    with made.disk.open("wb") as disk:
        disk.truncate(SIZE)
    run(["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(made.disk)], timeout_s=600)
    shutil.rmtree(tree)
