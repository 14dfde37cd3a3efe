# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab keeps its word: its hosts are real, its faults are real, and nothing of it stays behind."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import fault, keys, lifecycle, traces
from lab import host as hosts
from lab.plan import NAMESPACES, Lab
from lab.plan import lab as lab_of
from lab.run import LabError, run
from lab.seen import snapshot

pytestmark = pytest.mark.site

SPARE = "dev9"  # a second lab beside the run's own
ROOT = Path(__file__).parents[2]

NIC = "<interface type='bridge'><source bridge='lh0-br'/><model type='virtio'/></interface>"
DOMAIN = f"""<domain type='qemu'>
  <name>lh0-probe</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>{NIC}</devices>
</domain>"""


def on(lab: Lab, host: str, *argv: str, text: str | None = None) -> str:
    return hosts.on(lab, lab.host(host), list(argv), text=text).stdout


def ssh(lab: Lab, host: str, *words: str, timeout_s: float = 20) -> subprocess.CompletedProcess[str]:
    return run([*keys.ssh(lab, lab.host(host)), *words], timeout_s=timeout_s, check=False)


@pytest.fixture
def unchanged(lab: Lab) -> Iterator[None]:
    """The hosts are after the test what they were before it."""
    before = snapshot(lab.name)
    yield
    assert snapshot(lab.name) == before


@pytest.mark.parametrize("host", [host.name for host in NAMESPACES])
def test_operator_logs_in_and_is_on_the_host(lab: Lab, host: str) -> None:
    told = json.loads((lab.state / "lab.json").read_text())
    key = next(entry["host_key"] for entry in told["hosts"] if entry["name"] == host)
    assert key in lab.known_hosts.read_text()
    answer = ssh(
        lab, host, "hostname; ls -A /run/netns /run/lock; ls /sys/class/net; ls /var/lib/leasehold-lab"
    )
    nics = ["br-public", "eth0", "eth1", "lo"] if host == "gw1" else ["eth0", "lo"]
    # A site that looked for volume groups there leaves the folder of their locks.
    words = [word for word in answer.stdout.split() if not word.endswith(":") and word != "lvm"]
    assert (words, answer.stderr) == (
        [host, *nics],
        "ls: cannot access '/run/netns': No such file or directory\n",
    )


def test_hosts_are_told_apart(lab: Lab) -> None:
    for path in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({ssh(lab, host.name, "cat", path).stdout for host in lab.hosts}) == len(lab.hosts), path


@pytest.mark.usefixtures("unchanged")
def test_domain_starts_on_a_bridge_of_the_host(lab: Lab) -> None:
    on(lab, "c1", "ip", "link", "add", "lh0-br", "type", "bridge")
    on(lab, "c1", "virsh", "define", "/dev/stdin", text=DOMAIN)
    on(lab, "c1", "virsh", "start", "lh0-probe")
    try:
        seen = snapshot(lab.name)["c1"]
        assert seen["domains"] == {"lh0-probe": "running"}
        assert seen["processes"] == ["qemu-system-x86_64 guest=lh0-probe"]
        assert [link["name"] for link in seen["links"] if link["bridge"] == "lh0-br"] == ["vnet0"]
        assert snapshot(lab.name)["c2"]["domains"] == {}
    finally:
        on(lab, "c1", "virsh", "destroy", "lh0-probe")
        on(lab, "c1", "virsh", "undefine", "lh0-probe")
        on(lab, "c1", "ip", "link", "del", "lh0-br")


@pytest.mark.usefixtures("unchanged")
def test_qemu_reaches_a_target_by_chap_alone(lab: Lab) -> None:
    iqn = "iqn.2026-11.org.leasehold:lh0-probe"
    volume = "/var/lib/leasehold/volumes/lh0-probe.raw"
    tgtadm = "tgtadm --lld iscsi --tid 1 --mode"
    steps = [
        f"mkdir -p /var/lib/leasehold/volumes && truncate -s 8M {volume}",
        f"{tgtadm} target --op new --targetname {iqn}",
        f"{tgtadm} logicalunit --op new --lun 1 --backing-store {volume}",
        f"{tgtadm} target --op bind --initiator-address {lab.address(lab.host('c1'))}",
        "tgtadm --lld iscsi --mode account --op new --user lh0 --password open-sesame-12",
        f"{tgtadm} account --op bind --user lh0",
    ]
    try:
        for step in steps:
            assert ssh(lab, "st1", step).returncode == 0, step
        seen = snapshot(lab.name)["st1"]
        acl = [lab.address(lab.host("c1"))]
        assert seen["targets"] == [{"iqn": iqn, "volumes": [volume], "accounts": ["lh0"], "acl": acl}]
        assert seen["accounts"] == ["lh0"]
        assert seen["files"]["volumes"] == {"lh0-probe.raw": 8 << 20}

        def info(host: str, password: str) -> subprocess.CompletedProcess[str]:
            drive = (
                f"driver=iscsi,transport=tcp,portal={lab.address(lab.host('st1'))}:3260,target={iqn},lun=1"
            )
            argv = ["qemu-img", "info", "--output", "json", "--object", "secret,id=chap,file=/dev/stdin"]
            argv += ["--image-opts", f"{drive},user=lh0,password-secret=chap"]
            return hosts.on(lab, lab.host(host), argv, text=password, check=False)

        assert json.loads(info("c1", "open-sesame-12").stdout)["virtual-size"] == 8 << 20
        assert info("c1", "wrong-sesame-12").returncode != 0
        assert info("c2", "open-sesame-12").returncode != 0  # not the bound initiator address
    finally:
        ssh(lab, "st1", f"{tgtadm} target --op delete --force; rm -rf /var/lib/leasehold/volumes")
        ssh(lab, "st1", "tgtadm --lld iscsi --mode account --op delete --user lh0")


@pytest.mark.usefixtures("unchanged")
def test_vxlan_carries_a_ping_between_hosts(lab: Lab) -> None:
    def lay(host: str, peer: str, address: str) -> None:
        local, remote = lab.address(lab.host(host)), lab.address(lab.host(peer))
        vxlan = ("vxlan", "id", "4242", "local", local, "dstport", "4789", "nolearning")
        on(lab, host, "ip", "link", "add", "lh0-vx", "mtu", "1450", "type", *vxlan)
        on(lab, host, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "lh0-vx", "dst", remote)
        on(lab, host, "ip", "addr", "add", address, "dev", "lh0-vx")
        on(lab, host, "ip", "link", "set", "lh0-vx", "up")

    try:
        lay("c1", "c2", "10.99.0.1/24")
        lay("c2", "c1", "10.99.0.2/24")
        on(lab, "c1", "ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1422", "10.99.0.2")
        seen = snapshot(lab.name)["c1"]
        link = next(link for link in seen["links"] if link["name"] == "lh0-vx")
        assert (link["kind"], link["id"], link["mtu"]) == ("vxlan", 4242, 1450)
        assert seen["fdb"] == [f"lh0-vx 00:00:00:00:00:00 to {lab.address(lab.host('c2'))}"]
    finally:
        for host in ("c1", "c2"):
            hosts.on(lab, lab.host(host), ["ip", "link", "del", "lh0-vx"], check=False)


def test_storage_host_reaches_the_package_mirror(lab: Lab) -> None:
    listed = run(
        ["apt-get", "indextargets", "--format", "$(SITE)/dists/$(RELEASE)/InRelease", "Origin: Debian"]
    )
    url = (listed.stdout.splitlines() or ["http://deb.debian.org/debian/dists/stable/InRelease"])[0]
    fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=15).status)"
    assert on(lab, "st1", "/usr/bin/python3", "-c", fetch, url).strip() == "200"


def test_public_net_does_not_reach_the_hosts_through_the_machine(lab: Lab) -> None:
    on(lab, "gw1", "ip", "addr", "add", f"{lab.public}.250/24", "dev", "br-public")
    try:
        ping = ("ping", "-c", "1", "-W", "2", "-I", f"{lab.public}.250")
        on(lab, "gw1", *ping, f"{lab.public}.1")
        on(lab, "gw1", "ip", "route", "add", f"{lab.address(lab.host('c1'))}/32", "via", f"{lab.public}.1")
        with pytest.raises(LabError, match="exit status 1"):
            on(lab, "gw1", *ping, lab.address(lab.host("c1")))
    finally:
        on(lab, "gw1", "ip", "addr", "del", f"{lab.public}.250/24", "dev", "br-public")


def test_status_tells_which_daemon_is_gone_and_up_mends_it(lab: Lab) -> None:
    on(lab, "st1", "pkill", "-9", "tgtd")
    answers = lifecycle.status(lab.name)
    assert answers["st1"]["sshd"] == ""
    assert "tgtadm" in answers["st1"]["tgtd"]
    lifecycle.up(lab.name)
    assert not any(wrong for daemons in lifecycle.status(lab.name).values() for wrong in daemons.values())


@pytest.mark.usefixtures("unchanged")
def test_frozen_host_takes_connections_and_says_nothing(lab: Lab) -> None:
    fault.stop_host(lab.name, "c2")
    try:
        with pytest.raises(LabError, match="no end after 2 s"):
            ssh(lab, "c2", "true", timeout_s=2)
    finally:
        fault.start_host(lab.name, "c2")
    assert ssh(lab, "c2", "hostname").stdout == "c2\n"


@pytest.mark.usefixtures("unchanged")
def test_host_that_was_cut_off_comes_back(lab: Lab) -> None:
    fault.cut(lab.name, "c2")
    try:
        assert run(["ping", "-c", "1", "-W", "1", lab.address(lab.host("c2"))], check=False).returncode == 1
    finally:
        fault.join(lab.name, "c2")
    assert ssh(lab, "c2", "hostname").stdout == "c2\n"


@pytest.mark.usefixtures("unchanged")
def test_restarted_host_keeps_its_disk_and_loses_its_links(lab: Lab) -> None:
    before = ssh(lab, "c2", "cat /proc/sys/kernel/random/boot_id; touch /var/lib/leasehold/kept").stdout
    on(lab, "c2", "ip", "link", "add", "lh0-br", "type", "bridge")
    on(lab, "c2", "virsh", "define", "/dev/stdin", text=DOMAIN)
    on(lab, "c2", "virsh", "start", "lh0-probe")
    fault.reboot(lab.name, "c2")
    assert ssh(lab, "c2", "cat /proc/sys/kernel/random/boot_id").stdout != before
    seen = snapshot(lab.name)["c2"]
    assert [link["name"] for link in seen["links"]] == ["eth0", "lo"]
    assert (seen["domains"], seen["processes"]) == ({"lh0-probe": "off"}, [])
    on(lab, "c2", "virsh", "undefine", "lh0-probe")
    on(lab, "c2", "rm", "/var/lib/leasehold/kept")


@pytest.mark.usefixtures("unchanged")
def test_changed_host_key_is_another_key_until_changed_back(lab: Lab) -> None:
    pinned = lab.known_hosts.read_text()
    changed = fault.change_host_key(lab.name, "c2")
    try:
        shown = run(["ssh-keyscan", "-t", "ed25519", lab.address(lab.host("c2"))]).stdout
        assert changed in shown
        assert changed not in pinned
    finally:
        fault.change_host_key(lab.name, "c2")
    assert lab.known_hosts.read_text() == pinned
    assert ssh(lab, "c2", "hostname").stdout == "c2\n"


@pytest.mark.usefixtures("unchanged")
def test_full_disk_is_a_full_disk(lab: Lab) -> None:
    write = "dd if=/dev/zero of=/var/lib/leasehold/volumes/lh0-big.raw bs=1M count=6"
    fault.fill(lab.name, "st1", 4)
    try:
        answer = ssh(lab, "st1", write)
        assert answer.returncode == 1
        assert "No space left on device" in answer.stderr
    finally:
        fault.unfill(lab.name, "st1")
        on(lab, "st1", "rmdir", "/var/lib/leasehold/volumes")


# What a lab leaves behind, or not.


@pytest.fixture
def spare(lab: Lab) -> Iterator[Lab]:
    yield lab_of(SPARE)
    lifecycle.down(SPARE)


def left_of(lab: Lab) -> list[str]:
    """Everything on the machine that bears the lab's name."""
    seen = run(["ip", "netns", "list"]).stdout + run(["ip", "-br", "link"]).stdout
    seen += run(["nft", "list", "tables"]).stdout + Path("/proc/self/mountinfo").read_text()
    lines = [line for line in seen.splitlines() if f"{lab.mark}-" in line or line.endswith(f" {lab.mark}")]
    lines += [str(process) for process in traces.processes(lab)]
    return lines + [str(path) for path in [lab.state] if path.exists()]


def test_down_removes_all_of_its_lab_and_nothing_else(lab: Lab, spare: Lab) -> None:
    lifecycle.up(SPARE)
    on(spare, "c1", "virsh", "create", "/dev/stdin", text=DOMAIN.replace(NIC, ""))
    on(spare, "st1", "truncate", "-s", "1M", "/var/lib/leasehold/lh0-loop.raw")
    on(spare, "st1", "losetup", "--find", "--show", "/var/lib/leasehold/lh0-loop.raw")
    assert "lh0-loop.raw" in run(["losetup", "--list"]).stdout
    visitor = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{spare.netns(spare.host('c2'))}", "sleep", "600"]
    )
    lookalike = f"{spare.mark}x"
    run(["ip", "netns", "add", lookalike])
    run(["nft", "add", "table", "ip", lookalike])
    try:
        lifecycle.down(SPARE)
        assert visitor.wait(5) == -9
        assert left_of(spare) == []
        assert "lh0-loop.raw" not in run(["losetup", "--list"]).stdout
        assert lookalike in run(["ip", "netns", "list"]).stdout
        assert lookalike in run(["nft", "list", "tables"]).stdout
        assert not any(wrong for daemons in lifecycle.status(lab.name).values() for wrong in daemons.values())
        lifecycle.down(SPARE)
    finally:
        run(["ip", "netns", "del", lookalike])
        run(["nft", "delete", "table", "ip", lookalike])


def test_down_after_everything_was_killed(spare: Lab) -> None:
    lifecycle.up(SPARE)
    on(spare, "st1", "truncate", "-s", "1M", "/var/lib/leasehold/lh0-loop.raw")
    on(spare, "st1", "losetup", "--find", "--show", "/var/lib/leasehold/lh0-loop.raw")
    traces.kill(spare)
    lifecycle.down(SPARE)
    assert left_of(spare) == []
    assert "lh0-loop.raw" not in run(["losetup", "--list"]).stdout


@pytest.mark.parametrize("after_s", [0.15, 0.3, 0.45, 0.6, 0.8])
def test_up_that_was_killed_half_way_is_finished_or_removed(spare: Lab, after_s: float) -> None:
    argv = [sys.executable, "-m", "lab", "up", "--name", SPARE]
    for then in (lifecycle.down, lifecycle.up):
        with subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as started:
            time.sleep(after_s)
            started.kill()
        then(SPARE)
    assert not any(wrong for daemons in lifecycle.status(SPARE).values() for wrong in daemons.values())
    lifecycle.down(SPARE)
    assert left_of(spare) == []


def test_machine_is_as_before_when_the_last_lab_is_gone() -> None:
    """On a machine of its own: fresh namespaces, in which no other lab and no other test is at work."""
    alone = ["unshare", "--net", "--mount", "--propagation", "unchanged", "--pid", "--fork", "--kill-child"]
    first = "import signal, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN); time.sleep(300)"  # reaps
    with subprocess.Popen([*alone, sys.executable, "-c", first]) as machine:
        try:
            time.sleep(0.5)
            inside = [
                "nsenter",
                "--target",
                _child_of(machine.pid),
                "--net",
                "--mount",
                "--pid",
                "--root",
                "--wd",
            ]
            # In a chroot / is no mount point, and needs nothing, for its mounts are private there already.
            run([*inside, "mount", "--make-rprivate", "/"], check=False)
            for step in (
                ("mount", "-t", "proc", "proc", "/proc"),
                ("ip", "link", "set", "lo", "up"),
                ("mount", "-t", "tmpfs", "fresh", "/run"),
                ("mount", "-t", "tmpfs", "fresh", "/var/lib"),
                ("sysctl", "-q", "net.ipv4.ip_forward=0"),
            ):
                run([*inside, *step])
            look = (
                "cat /proc/mounts; cat /proc/sys/net/ipv4/ip_forward; ip netns; ip -br link; nft list ruleset;"
                "find /run /var/lib; ls -dl /root/.ssh /root; ps -e -o stat=,comm= | grep -vwE 'ps|sh|nsenter|grep'"
            )
            before = run([*inside, "sh", "-c", look]).stdout
            command = [*inside, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "lab"]
            run([*command, "up", "--name", SPARE], timeout_s=60)
            assert run([*inside, "cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
            run([*command, "down", "--name", SPARE], timeout_s=60)
            after = run([*inside, "sh", "-c", look]).stdout
            assert sorted(set(after.splitlines()) ^ set(before.splitlines())) == []
            assert after == before
            # A lab in another chroot is known by its table alone, and needs the forwarding.
            run([*inside, "nft", "add", "table", "ip", "lhlab-elsewhere"])
            run([*command, "up", "--name", SPARE], timeout_s=60)
            run([*command, "down", "--name", SPARE], timeout_s=60)
            assert run([*inside, "cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
        finally:
            machine.kill()


def _child_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
