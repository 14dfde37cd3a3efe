# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden images of guests that do next to nothing, so that whole lives of clusters fit into a test.

A Debian kernel and an init script of a page: a compute node takes its private address and reports ready; a frontend
also reads its site roll, gives the cluster's name over HTTP and addresses over DHCP, and reports accepted once every
compute node answers a ping over the private network. When another edition of the site roll is put into its drive it
reports both anew. On a disk that all nodes may write each leaves a line, and tells its console what others left there.
They run under QEMU and, paravirtual, under Xen. An emulated node is a compute node that knows a SATA disk, an e1000e
interface and a second serial port, and no virtio device. All set their clocks as the rolls' guests do, and tell their
console then, and at first, which boot this is. Their power button switches them off.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.run import run

FOLLOW_CLOCK = Path(__file__).parents[1] / "rolls/base/files/all/usr/lib/leasehold/follow-clock"
CACHE = Path("/var/cache/leasehold/tiny")
KINDS = ("frontend", "compute", "emulated")
# What the guests' devices need; what these need in turn is looked up. ata_piix and sr_mod are for the CD drive, button
# and evdev for the power button.
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ata_piix", "sr_mod"),
    *("xen_blkfront", "xen_netfront", "isofs", "button", "evdev"),
)
EMULATED_MODULES = ("ahci", "sd_mod", "e1000e", "button", "evdev")
# What brings a kernel into the form that GRUB for Xen boots is the same as in the golden images.
VMLINUX = Path(__file__).parents[1] / "rolls/base/space/base/root/etc/kernel/postinst.d/leasehold-vmlinux"

# grub-mkrescue's own start-up asks for every kind of partition table.
PARTITIONS = ("acorn", "amiga", "apple", "bsd", "dfly", "dvh", "gpt", "msdos", "plan", "sun", "sunpc")
GRUB_MODULES = " ".join(
    ["linux", "iso9660", "biosdisk", "normal", "test", *(f"part_{name}" for name in PARTITIONS)]
)
# Under Xen GRUB reads its disk a page at a time, each over the network: what need not be read is not there.
GRUB = """set timeout=0
set enable_progress_indicator=0
if [ "$grub_platform" = xen ]; then
  linux /vmlinux.gz console=hvc0 quiet panic=1 mitigations=off
else
  linux /vmlinuz console=ttyS0 quiet panic=1 mitigations=off
fi
initrd /initrd
boot
"""

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done < /modules/order
port=/dev/null # under Xen the console is where reports go
for found in /sys/class/virtio-ports/*; do
    [ "$(cat "$found/name")" = org.leasehold.report ] && port=/dev/${found##*/} && break
done

report() { printf '\n%s\n' "$1"; echo "$1" > "$port"; }
interface() { until grep -l -i "$1" /sys/class/net/*/address; do sleep 0.3; done | cut -d / -f 5; }
value() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$site"; }

emulated() {
    port=/dev/ttyS1
    until head -c 512 /dev/sda > /dev/null; do sleep 0.3; done
    compute
}

compute() {
    # Layout gives the node at position P the MAC ..:PP and the address 10.20.1.P.
    until [ -e /sys/class/net/eth0 ]; do sleep 0.3; done
    position=$((0x$(sed 's/.*:0*\([0-9a-f]\)/\1/' /sys/class/net/eth0/address)))
    ip address add "10.20.1.$position/16" dev eth0
    ip link set eth0 mtu 1450 up
    share "$position" &
    report "{\"event\":\"ready\",\"node\":\"node$position\"}"
}

share() {
    for found in /sys/block/vd*/serial; do
        [ "$(cat "$found" 2> /dev/null)" = shared ] || continue
        disk=${found%/serial}
        disk=/dev/${disk##*/} seen=
        # A whole page each, so that nobody writes back what was read of a neighbour's.
        printf '%-4096s' "node $1 was here" | dd of="$disk" bs=4096 seek="$1" conv=notrunc,fsync 2> /dev/null
        while :; do
            sleep 1
            blockdev --flushbufs "$disk" # what was read before is read anew
            for other in 0 1 2 3; do
                line=$(dd if="$disk" bs=4096 skip="$other" count=1 2> /dev/null | head -c 15 | tr -d '\000')
                case "$seen $line" in
                    *"[$line]"* | *" ") ;;
                    *) seen="$seen[$line]" && echo "shared disk: $line" ;;
                esac
            done
        done
    done
}

open_site() {
    mount -t iso9660 -o ro /dev/sr0 /cd 2> /dev/null || mount -t iso9660 -o ro /dev/xvdi /cd 2> /dev/null || return 1
    cp /cd/leasehold/site.json "$site"
    read -r edition < /cd/leasehold/edition
    umount /cd
}

frontend() {
    site=/site.json
    until open_site; do sleep 0.3; done
    for side in private public; do
        link=$(interface "$(value ${side}_mac)")
        ip address add "$(value ${side}_address)/$([ $side = public ] && value public_prefix || echo 16)" dev "$link"
        ip link set "$link" up
        [ $side = private ] && ip link set "$link" mtu "$(value mtu)"
    done
    ip route add default via "$(value public_gateway)"
    share 0 &
    value cluster > /www/index.html
    httpd -h /www
    while :; do
        serve_addresses
        accept
        while ! open_site || [ "$edition" = "$accepted" ]; do sleep 1; done
    done
}

serve_addresses() {
    killall udhcpd 2> /dev/null
    # One address to give, and that is a node's: whoever is not in the list gets none.
    {
        printf 'interface %s\nstart 10.20.1.1\nend 10.20.1.1\n' "$(interface "$(value private_mac)")"
        printf 'lease_file /leases\npidfile /udhcpd.pid\n'
        set -- $(value mac)
        for address in $(value address); do echo "static_lease $1 $address"; shift; done
    } > /udhcpd.conf
    : > /leases
    udhcpd /udhcpd.conf
}

accept() {
    report "{\"event\":\"ready\",\"node\":\"frontend\",\"edition\":\"$edition\"}"
    accepted=$edition ok=true checks=
    for address in $(value address); do
        here=false tries=0
        until [ $tries -ge 300 ]; do
            ping -c 1 -W 1 "$address" > /dev/null && here=true && break
            tries=$((tries + 1))
            sleep 0.3
        done
        [ $here = true ] || ok=false
        checks="$checks{\"name\":\"ping\",\"ok\":$here,\"detail\":\"$address\",\"seconds\":0},"
    done
    [ -n "$checks" ] || ok=false
    report "{\"event\":\"accepted\",\"edition\":\"$edition\",\"ok\":$ok,\"checks\":[${checks%,}]}"
}

tell_boot() { echo "$1 boot $(cat /proc/sys/kernel/random/boot_id) at $(date -u +%s)"; }
for events in /dev/input/event*; do # nobody types here: what comes is the power button
    dd if="$events" of=/dev/null bs=1k count=1 2> /dev/null && poweroff -f &
done
tell_boot first
sh /follow-clock | while read -r line; do tell_boot "$line;"; done &
"$(cat /kind)"
while :; do sleep 3600; done
"""


def image(kind: str) -> Path:
    """The raw disk of the tiny guest of that kind, built if it is not in the cache yet (some seconds).

    The link CACHE/KIND.raw leads to it afterwards.
    """
    kernel = _kernel_package("linux-image-amd64" if kind == "emulated" else "linux-image-cloud-amd64")
    packages = [kernel, "busybox-static"]
    versions = run(["apt-cache", "show", "--no-all-versions", *packages], timeout_s=60).stdout
    content = repr(
        (
            kind,
            _modules(kind),
            GRUB_MODULES,
            GRUB,
            INIT,
            VMLINUX.read_text(),
            FOLLOW_CLOCK.read_text(),
            [line for line in versions.splitlines() if "SHA256" in line],
        )
    )
    disk = CACHE / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.raw"
    if not disk.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=CACHE) as scratch:
            _build(kind, packages, Path(scratch)).rename(disk)
    link, fresh = CACHE / f"{kind}.raw", CACHE / f".{kind}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(disk.name)
    fresh.rename(link)
    return disk


def _modules(kind: str) -> tuple[str, ...]:
    return EMULATED_MODULES if kind == "emulated" else MODULES


def _kernel_package(latest: str) -> str:
    """The package that `latest` leads to: a kernel of one version."""
    depends = run(["apt-cache", "depends", latest], timeout_s=60).stdout.split()
    return next(word for word in depends if word.startswith("linux-image-") and word[12].isdigit())


def _build(kind: str, packages: list[str], scratch: Path) -> Path:
    unpacked = scratch / "unpacked"
    for package in packages:
        where = scratch / package
        where.mkdir()
        # apt's own user may not write into our folder.
        fetch = ["env", "--chdir", str(where), "apt-get", "-q", "-o", "APT::Sandbox::User=root"]
        run([*fetch, "download", package], timeout_s=300)
        (archive,) = where.glob("*.deb")
        run(["dpkg", "-x", str(archive), str(unpacked)], timeout_s=60)
    for name in ("bin", "lib"):
        # As of Debian 13 packages bring their files below /usr alone; depmod looks in /lib.
        if not (unpacked / name).exists():
            (unpacked / name).symlink_to(f"usr/{name}")
    (release,) = (unpacked / "lib" / "modules").iterdir()
    tree = scratch / "disk"
    (tree / "boot" / "grub").mkdir(parents=True)
    (tree / "boot" / "grub" / "grub.cfg").write_text(GRUB)
    kernel = unpacked / "boot" / f"vmlinuz-{release.name}"
    shutil.copy(kernel, tree / "vmlinuz")
    if kind != "emulated":  # Xen has no such devices, and that kernel is packed in another way
        run(["sh", str(VMLINUX), release.name, str(kernel)], timeout_s=120)
        shutil.copy(kernel.with_name("vmlinux.gz"), tree / "vmlinux.gz")
    _write_initramfs(kind, unpacked, release, tree / "initrd")
    disk = scratch / "disk.raw"
    lean = ["--locales=", "--fonts=", "--themes=", f"--install-modules={GRUB_MODULES}"]
    run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", *lean, "-o", str(disk), str(tree)], timeout_s=120)
    mib = 1 << 20
    with disk.open("ab") as file:
        file.truncate(-(-disk.stat().st_size // mib) * mib)
    return disk


def _write_initramfs(kind: str, unpacked: Path, release: Path, initramfs: Path) -> None:
    root = unpacked.with_name("root")
    for folder in ("bin", "cd", "dev", "modules", "proc", "sys", "www"):
        (root / folder).mkdir(parents=True)
    shutil.copy(unpacked / "bin" / "busybox", root / "bin" / "busybox")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    shutil.copy(FOLLOW_CLOCK, root / "follow-clock")
    (root / "kind").write_text(f"{kind}\n")
    run(["depmod", "-b", str(unpacked), release.name], timeout_s=60)
    order = _load_order((release / "modules.dep").read_text(), _modules(kind))
    for path in order:
        # Debian 13 packs each module by itself.
        module = (release / path).read_bytes()
        (root / "modules" / _plain(path)).write_bytes(
            lzma.decompress(module) if path.endswith(".xz") else module
        )
    (root / "modules" / "order").write_text("".join(f"{_plain(path)}\n" for path in order))
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    run(
        ["env", "--chdir", str(root), "cpio", "--quiet", "-o", "-H", "newc", "-F", str(initramfs)],
        text=names,
        timeout_s=60,
    )
    initramfs.write_bytes(gzip.compress(initramfs.read_bytes(), mtime=0))


def _plain(path: str) -> str:
    return Path(path).name.removesuffix(".xz")


def _load_order(modules_dep: str, modules: Sequence[str]) -> list[str]:
    """The modules' paths, each after those it needs; `modules_dep` as depmod(8) writes it.

    What the kernel has built in is not listed there, and needs no loading.
    """
    needs = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[Path(path).name.partition(".")[0].replace("-", "_")] = [*reversed(rest.split()), path]
    return list(dict.fromkeys(path for module in modules for path in needs.get(module, ())))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or KINDS:
        print(image(wanted))
