# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts that are namespaces: this machine's kernel and file system, with places of their own."""

import os
import uuid
from pathlib import Path
from typing import Any

from lab import network, traces
from lab.hold import hold
from lab.keys import make_key
from lab.plan import HOST_DIR, IMAGE_CACHE, STATE, Host, Lab
from lab.run import LabError, run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Folders of the host that live over a restart: name below its own folder -> where it is mounted, mode.
FOLDERS = {
    "leasehold": (str(HOST_DIR), 0o700),
    # All of it: what root's shell does at a login here (and the locks it takes) is no business of a host.
    "root": ("/root", 0o700),
    "etc-ssh": ("/etc/ssh", 0o755),
    "etc-libvirt": ("/etc/libvirt", 0o755),
    "lib-libvirt": ("/var/lib/libvirt", 0o755),
    "cache-libvirt": ("/var/cache/libvirt", 0o755),
    "log": ("/var/log", 0o755),
    "tmp": ("/tmp", 0o1777),
    "var-tmp": ("/var/tmp", 0o1777),
}
FILES = {
    "hostname": "/etc/hostname",
    "hosts": "/etc/hosts",
    "machine-id": "/etc/machine-id",
    "resolv.conf": "/etc/resolv.conf",
    "shadow": "/etc/shadow",
}
# Made anew at each start on the host's own /run, with their modes.
RUN_FOLDERS = {"/run/lock": 0o1777, "/run/sshd": 0o755, "/run/libvirt": 0o755, "/run/tgtd": 0o755}

QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
"""

LIBVIRTD_CONF = """host_uuid = "{host_uuid}"
unix_sock_group = "root"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:stderr"
"""

SSHD_CONF = """Port 22
ListenAddress {address}
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100:30:200
MaxSessions 100
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
"""
# A test that offers wrong keys must not lock the manager out; OpenSSH before 9.8 does not know this word.
SSHD_LENIENT = "PerSourcePenalties no\n"


def mount_points() -> dict[str, bool]:
    """Where hosts mount something of their own: path -> whether it is a file."""
    return {target: False for target, _ in FOLDERS.values()} | dict.fromkeys(FILES.values(), True)


def write_files(lab: Lab, host: Host, nameservers: list[str]) -> None:
    """Write what the host needs to start; what it has already (keys, volumes) stays."""
    own = lab.folder(host)
    for name, (_, mode) in FOLDERS.items():
        (own / name).mkdir(parents=True, exist_ok=True)
        (own / name).chmod(mode)
    host_uuid = lab.uuid(host)
    texts = {
        "hostname": f"{host.name}\n",
        "hosts": lab.hosts_file,
        "machine-id": f"{host_uuid.hex}\n",
        "resolv.conf": "".join(f"nameserver {server}\n" for server in nameservers),
        # sshd without PAM refuses a root whose password is locked by "!"; "*" is merely no password.
        "shadow": "root:*:20000:0:99999:7:::\n",
        "etc-ssh/sshd_config": SSHD_CONF.format(address=lab.address(host)) + lenient(),
        "etc-libvirt/libvirtd.conf": LIBVIRTD_CONF.format(host_uuid=host_uuid),
        "etc-libvirt/qemu.conf": QEMU_CONF,
        "etc-libvirt/libvirt.conf": 'uri_default = "qemu:///system"\n',
    }
    for name, text in texts.items():
        (own / name).write_text(text)
    (own / "shadow").chmod(0o600)
    make_key(own / "etc-ssh" / "ssh_host_ed25519_key", host.name)
    if "builder" in host.roles:
        (own / "leasehold" / "images").mkdir(exist_ok=True)
    (own / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
    authorized = own / "root" / ".ssh" / "authorized_keys"
    if not authorized.exists():
        authorized.write_text(lab.operator_key.with_suffix(".pub").read_text())
        authorized.chmod(0o600)


def boot(lab: Lab, host: Host) -> None:
    """Start a host that is off: fresh namespaces and links, its first process, its daemons.

    Returns when the daemons are started, which is before they answer. LabError with the reason otherwise.
    """
    halt(lab, host)
    network.cable(lab, host)
    (lab.folder(host) / "boot_id").write_text(f"{uuid.uuid4()}\n")
    hold(lab, host, lab.netns(host), _order(lab, host))


def halt(lab: Lab, host: Host) -> None:
    """Take the power from a host: all its processes die, its links and its /run are gone, its disk stays."""
    traces.kill(lab, host.name)
    network.remove_namespace(lab.netns(host))
    network.unplug(lab, host)


def is_running(lab: Lab, host: Host) -> bool:
    """Whether it is on and none of its daemons has ended."""
    running = {
        Path(process.argv[0]).name.rstrip(":") for process in traces.of_host(lab, host.name) if process.argv
    }
    return traces.first_process(lab, host.name) is not None and set(host.daemons) <= running


def inside(lab: Lab, host: Host, argv: list[str]) -> list[str]:
    """The argv that runs `argv` inside the host's namespaces; LabError if it is off."""
    pid = traces.first_process(lab, host.name)
    if pid is None:
        raise LabError(f"{lab.name} {host.name}: is off; run: python -m lab up --name {lab.name}")
    # The root as well: in a chroot, a mount namespace's own root is the machine's.
    return [
        *("nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"),
        *("env", "-i", f"PATH={PATH}", "HOME=/root", "USER=root", "LANG=C.UTF-8"),
        f"TERM={os.environ.get('TERM', 'dumb')}",
        *argv,
    ]


def _order(lab: Lab, host: Host) -> dict[str, Any]:
    """What lab/holder.py is told to arrange. /run comes first, the lab's own state is hidden last."""
    own = lab.folder(host)
    mounts: list[dict[str, Any]] = [
        {"type": "proc", "target": "/proc"},
        {"type": "sysfs", "target": "/sys"},
        {"type": "tmpfs", "target": "/run", "options": "mode=755,nosuid,nodev"},
        {"type": "tmpfs", "target": "/dev/shm", "options": "mode=1777,nosuid,nodev"},
    ]
    mounts += [
        {"type": "bind", "source": str(own / name), "target": target} for name, (target, _) in FOLDERS.items()
    ]
    files = {**FILES, "boot_id": "/proc/sys/kernel/random/boot_id"}
    mounts += [
        {"type": "bind", "source": str(own / name), "target": target, "file": True}
        for name, target in files.items()
    ]
    # What the machine's root has there is no part of the host, and each login would run it.
    mounts += [
        {"type": "bind", "source": "/dev/null", "target": str(path), "file": True}
        for path in (Path("/root/.bashrc"), Path("/root/.profile"))
        if path.exists()
    ]
    if "builder" in host.roles:
        mounts.append({"type": "bind", "source": str(IMAGE_CACHE), "target": str(HOST_DIR / "images")})
    mounts.append({"type": "tmpfs", "target": str(STATE), "options": "mode=700,size=4k,ro"})
    daemons = {
        "sshd": ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"],
        "libvirtd": ["/usr/sbin/libvirtd", "--config", "/etc/libvirt/libvirtd.conf"],
        "tgtd": ["/usr/sbin/tgtd", "-f", "--iscsi", f"portal={lab.address(host)}:3260"],
    }
    return {
        "mounts": mounts,
        "folders": {**RUN_FOLDERS, "/var/log/libvirt": 0o755},
        "daemons": [{"argv": daemons[name], "log": f"/var/log/{name}.log"} for name in host.daemons],
    }


def lenient() -> str:
    """The line about penalties for sshd's settings, if this machine's sshd knows it; asked in the test mode that needs
    no key."""
    asked = run(["/usr/sbin/sshd", "-G", "-f", "/dev/null", "-o", SSHD_LENIENT.strip()], check=False)
    return SSHD_LENIENT if asked.returncode == 0 else ""
