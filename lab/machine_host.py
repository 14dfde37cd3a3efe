# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts that are machines: Debian with its own kernel in QEMU, for what this machine's kernel lacks.

QEMU is the one daemon of a holder like a namespace host's, in the switch's network namespace, so that whatever finds
and ends a host's processes does so here as well.
"""

import functools
import os
import re
import shlex
from pathlib import Path

from lab import network, rootfs, traces
from lab.hold import hold
from lab.keys import make_key, ssh
from lab.plan import IMAGE_CACHE, PUBLIC_BRIDGE, Host, Lab
from lab.rootfs import Root
from lab.run import LabError, run

QEMU = "qemu-system-x86_64"
MEMORY_MIB = {"xen": 2560, "plain": 1536}
DOM0_MIB = 1024
DATA_SIZE = 64 << 30
KVM_WITHIN_S = 10
CONSOLE_TAIL = 30  # lines

# By its name: a tagged link has the MAC address of its parent, and networkd would take it off its bridge.
LINK = """[Match]
Name={name}
[Network]
LinkLocalAddressing=no
"""
UNDERLAY = """Address={address}/24
Gateway={gateway}
"""
BRIDGE = f"""[NetDev]
Name={PUBLIC_BRIDGE}
Kind=bridge
"""


def write_files(lab: Lab, host: Host, nameservers: list[str]) -> None:
    """Make its keys and its disks, unless it has them, and the small disk that tells it who it is."""
    own, root = lab.folder(host), rootfs.ensure()
    (own / "etc-ssh").mkdir(parents=True, exist_ok=True)
    key = own / "etc-ssh" / "ssh_host_ed25519_key"
    make_key(key, host.name)
    files = {
        "etc/hostname": (f"{host.name}\n", 0o644),
        "etc/hosts": (lab.hosts_file, 0o644),
        "etc/resolv.conf": ("".join(f"nameserver {server}\n" for server in nameservers), 0o644),
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(), 0o644),
        "etc/iscsi/initiatorname.iscsi": (
            f"InitiatorName=iqn.2026-11.org.leasehold.lab:{host.name}\n",
            0o600,
        ),
        "root/.ssh/authorized_keys": (lab.operator_key.with_suffix(".pub").read_text(), 0o600),
        **_network_files(lab, host),
    }
    if "xen" in host.daemons:
        files["etc/libvirt/libvirt.conf"] = ('uri_default = "xen:///system"\n', 0o644)
    (own / "identity.tar").write_bytes(rootfs.archive(files))
    if not (own / "root.qcow2").exists():
        backing = ("-b", str(root.disk), "-F", "raw")
        run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(own / "root.qcow2")])
    if "storage" in host.roles and not (own / "data.raw").exists():
        with (own / "data.raw").open("wb") as data:
            data.truncate(DATA_SIZE)


def boot(lab: Lab, host: Host) -> None:
    """Start QEMU; the host's kernel begins to boot."""
    halt(lab, host)
    own, root = lab.folder(host), rootfs.ensure()
    argv = [QEMU, *_machine(host, root), *_disks(lab, host), *_cards(lab, host)]
    argv += ["-chardev", f"file,id=console,path={own}/console.log,append=on", "-serial", "chardev:console"]
    # An own /proc for an own PID namespace; the tmpfs bears the mark by which the host is found.
    mounts = [
        {"type": "proc", "target": "/proc"},
        {"type": "tmpfs", "target": "/run", "options": "mode=755,nosuid,nodev"},
    ]
    daemons = [{"argv": argv, "log": f"{own}/qemu.log"}]
    hold(lab, host, lab.switch, {"mounts": mounts, "folders": {}, "daemons": daemons})


def halt(lab: Lab, host: Host) -> None:
    """Take the power from a host: what it had not yet written to its disks is lost."""
    traces.kill(lab, host.name)
    network.unplug(lab, host)


def is_running(lab: Lab, host: Host) -> bool:
    """Whether QEMU is; whether Debian is, its sshd tells."""
    running = traces.of_host(lab, host.name)
    return any(Path(process.argv[0]).name == QEMU for process in running if process.argv)


def inside(lab: Lab, host: Host, argv: list[str]) -> list[str]:
    """The argv that runs `argv` on the host, over SSH."""
    return [*ssh(lab, host), shlex.join(argv)]


def console_tail(lab: Lab, host: Host) -> str:
    """The last lines of QEMU and of the host's console, less colours and what merely shows that time passes."""
    said = ""
    for name in ("qemu.log", "console.log"):
        file = lab.folder(host) / name
        said += file.read_text(errors="replace") if file.exists() else ""
    lines = re.sub(r"\x1b(\[[0-9;]*[A-Za-z]|M)|\r", "", said).splitlines()
    telling = [line for line in lines if line.strip() and not re.search(r"\bJob .* running \(", line)]
    return "\n".join(telling[-CONSOLE_TAIL:])


def _network_files(lab: Lab, host: Host) -> dict[str, tuple[str, int]]:
    underlay = UNDERLAY.format(address=lab.address(host), gateway=f"{lab.underlay}.1")
    texts = {
        "eth0.network": LINK.format(name="eth0") + underlay,
        "eth1.network": LINK.format(name="eth1"),
    }
    if "gateway" in host.roles:
        texts |= {
            "eth2.network": LINK.format(name="eth2") + f"Bridge={PUBLIC_BRIDGE}\n",
            "public.netdev": BRIDGE,
            "public.network": LINK.format(name=PUBLIC_BRIDGE),
        }
    return {f"etc/systemd/network/{name}": (text, 0o644) for name, text in texts.items()}


def _machine(host: Host, root: Root) -> list[str]:
    """Accelerator, processor, memory, and what is booted: Debian's kernel, or Xen with that kernel as dom0."""
    is_xen = "xen" in host.daemons
    kernel = "root=/dev/vda rw net.ifnames=0 mitigations=off"
    kernel += " lab.data" if "storage" in host.roles else ""
    kernel += f" systemd.hostname={host.name}"
    accel, cpu = "tcg,thread=multi,tb-size=512", "max"
    if kvm_works(root):
        accel, cpu = "kvm", "host"
    elif is_xen:
        cpu = "Nehalem-v1"  # with all that TCG can do, Xen's dom0 crashes at its start
    memory = MEMORY_MIB["xen" if is_xen else "plain"]
    # One processor: where several hosts share this machine's, another one would spin for locks and answers of a first
    # that does not run just then, and three hosts would boot in twice the time.
    argv = f"-accel {accel} -cpu {cpu} -smp 1 -m {memory} -nodefaults -no-user-config -display none".split()
    if is_xen:
        # GRUB in a guest waits for its disk by giving the processor away, which credit2, the default, hardly heeds.
        xen = f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M sched=credit spec-ctrl=no xpti=no"
        argv += ["-kernel", str(root.xen), "-append", xen]
        return [*argv, "-initrd", f"{root.kernel} {kernel} console=hvc0,{root.initrd}"]
    return [
        *argv,
        "-kernel",
        str(root.kernel),
        "-initrd",
        str(root.initrd),
        "-append",
        f"{kernel} console=ttyS0",
    ]


def _disks(lab: Lab, host: Host) -> list[str]:
    """vda the root, vdb the identity, vdc the data disk: the host's units know them by that order.

    "unsafe": a write that the host has synced is in this machine's memory, which a host's power cut does not take
    away.
    """
    own = lab.folder(host)
    drives = {
        "root": f"file={own}/root.qcow2,format=qcow2,cache=unsafe",
        "identity": f"file={own}/identity.tar,format=raw,readonly=on",
    }
    if "storage" in host.roles:
        drives["data"] = f"file={own}/data.raw,format=raw,cache=unsafe,discard=unmap"
    argv = []
    for name, drive in drives.items():
        argv += [
            "-drive",
            f"{drive},if=none,id={name}",
            "-device",
            f"virtio-blk-pci,drive={name},serial={name}",
        ]
    share = f"local,path={IMAGE_CACHE},mount_tag=images,security_model=none,readonly=on"
    return [*argv, "-virtfs", share, "-device", "virtio-rng-pci"]


def _cards(lab: Lab, host: Host) -> list[str]:
    argv = []
    for number, (tap, mac) in enumerate(network.plug_taps(lab, host)):
        argv += ["-netdev", f"tap,id=eth{number},ifname={tap},script=no,downscript=no"]
        argv += ["-device", f"virtio-net-pci,netdev=eth{number},mac={mac}"]
    return argv


@functools.cache
def kvm_works(root: Root) -> bool:
    """Whether our kernel runs under KVM here: /dev/kvm may open and answer and still hang a guest. Tried once in the
    life of a process.

    Without a root file system it panics and reboots, at which QEMU ends.
    """
    if not os.path.exists("/dev/kvm"):
        return False
    argv = f"{QEMU} -accel kvm -cpu host -m 256 -nodefaults -no-user-config -display none -no-reboot".split()
    try:
        done = run(
            [*argv, "-kernel", str(root.kernel), "-append", "panic=-1"], timeout_s=KVM_WITHIN_S, check=False
        )
    except LabError:
        return False
    return done.returncode == 0
