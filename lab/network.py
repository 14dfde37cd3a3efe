# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's cables: a switch namespace with three bridges, the machine on two of them, NAT to the outside."""

import json
from pathlib import Path

from lab.plan import BRIDGES, PUBLIC_BRIDGE, Host, Lab
from lab.run import LabError, run

NETNS = Path("/run/netns")
# Set before a link of the switch is up: with an address of its own it would look for routers at any time, untagged.
MUTE = ("addrgenmode", "none")


def ip(*words: str, netns: str | None = None, check: bool = True) -> str:
    """Run ip(8), in the named namespace if one is given, and return its output."""
    # Not "ip -n": that changes the propagation of /, which is no mount point in a chroot.
    where = ["nsenter", f"--net={NETNS / netns}"] if netns else []
    return run([*where, "ip", *words], check=check).stdout


def links(netns: str | None = None) -> set[str]:
    """Names of the links in a namespace, the machine's own without a name."""
    return {link["ifname"] for link in json.loads(ip("-j", "link", netns=netns) or "[]")}


def is_namespace(netns: str) -> bool:
    """Whether the name stands for a living namespace: a crash of the machine leaves the bare file."""
    return (NETNS / netns).exists() and run(
        ["nsenter", f"--net={NETNS / netns}", "true"], check=False
    ).returncode == 0


def has_switch(lab: Lab) -> bool:
    """Whether switch and the machine's cables to it are there."""
    return (
        is_namespace(lab.switch)
        and {*BRIDGES, "m-underlay", "m-public"} <= links(lab.switch)
        and set(lab.machine_links) <= links()
    )


def make_switch(lab: Lab) -> None:
    """Make the switch and lay the machine's cables to it; nothing of it may be there."""
    _make_namespace(lab.switch)
    for bridge in BRIDGES:
        ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0", netns=lab.switch)
        ip("link", "set", bridge, *MUTE, netns=lab.switch)
        ip("link", "set", bridge, "up", netns=lab.switch)
    for bridge, (machine_end, address) in zip(("underlay", "public"), lab.machine_links.items(), strict=True):
        port = f"m-{bridge}"
        ip("link", "add", machine_end, "type", "veth", "peer", "name", port, "netns", lab.switch)
        ip("link", "set", port, "master", bridge, "up", netns=lab.switch)
        ip("addr", "add", address, "dev", machine_end)
        ip("link", "set", machine_end, "alias", lab.mark, "up")


def cable(lab: Lab, host: Host) -> None:
    """Make a namespace host's namespace with its links: eth0 on the underlay; a gateway also has the public bridge
    over eth1. Nothing of it may be there."""
    netns = lab.netns(host)
    _make_namespace(netns)
    _plug(lab, host.name, "underlay", netns, "eth0", lab.mac(host, "underlay"))
    ip("addr", "add", f"{lab.address(host)}/24", "dev", "eth0", netns=netns)
    ip("route", "add", "default", "via", f"{lab.underlay}.1", netns=netns)
    if "gateway" in host.roles:
        _plug(lab, f"{host.name}-public", "public", netns, "eth1", lab.mac(host, "public"))
        ip("link", "add", PUBLIC_BRIDGE, "type", "bridge", "mcast_snooping", "0", netns=netns)
        ip("link", "set", "eth1", "master", PUBLIC_BRIDGE, netns=netns)
        ip("link", "set", PUBLIC_BRIDGE, "up", netns=netns)


def plug_taps(lab: Lab, host: Host) -> list[tuple[str, str]]:
    """Plug a machine host into the switch: (tap there, MAC address) of its cards eth0 on the underlay, eth1 on the
    trunk and, for a gateway, eth2 on the public bridge. Nothing of it may be there."""
    plugged = []
    for bridge in ("underlay", "trunk", *(("public",) if "gateway" in host.roles else ())):
        tap = host.name if bridge == "underlay" else f"{host.name}-{bridge}"
        ip("tuntap", "add", "dev", tap, "mode", "tap", netns=lab.switch)
        ip("link", "set", tap, *MUTE, netns=lab.switch)
        ip("link", "set", tap, "master", bridge, "up", netns=lab.switch)
        plugged.append((tap, lab.mac(host, bridge)))
    return plugged


def unplug(lab: Lab, host: Host) -> None:
    """Take the host's cables off the switch; without any nothing happens."""
    if is_namespace(lab.switch):
        for port in links(lab.switch) & {host.name, *(f"{host.name}-{bridge}" for bridge in BRIDGES)}:
            ip(
                "link", "del", port, netns=lab.switch, check=False
            )  # a cable goes with the namespace at its end


def set_port(lab: Lab, host: Host, state: str) -> None:
    """Pull ("down") or plug ("up") the host's underlay cable at the switch."""
    ip("link", "set", host.name, state, netns=lab.switch)


def remove_namespace(netns: str) -> None:
    """Remove a named namespace, living or a bare file; without one nothing happens."""
    path = NETNS / netns
    if path.exists() and run(["ip", "netns", "del", netns], check=False).returncode:
        path.unlink(missing_ok=True)


def remove_all(lab: Lab) -> None:
    """Remove the lab's namespaces, the machine's ends of its cables, and its nft table."""
    names = NETNS.iterdir() if NETNS.is_dir() else ()
    for netns in sorted(path.name for path in names if path.name.startswith(f"{lab.mark}-")):
        remove_namespace(netns)
    for link in links() & set(lab.machine_links):
        ip("link", "del", link, check=False)  # may go by itself at this very moment, with its namespace
    run(["nft", "-f", "-"], text=f"table ip {lab.mark}\ndelete table ip {lab.mark}\n")


def translate(lab: Lab) -> None:
    """Let hosts and guests out through the machine: masquerade, and TCP segments that fit its own link.

    The two networks of a lab, and two labs, reach each other only inside, never through the machine.
    """
    nets = f"{{ {lab.underlay}.0/24, {lab.public}.0/24 }}"
    rules = f"""
        table ip {lab.mark}
        delete table ip {lab.mark}
        table ip {lab.mark} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr {nets} oifname != "lhlab-*" masquerade
            }}
            chain forward {{
                type filter hook forward priority filter; policy accept;
                iifname "{lab.mark}-*" oifname "lhlab-*" drop
                ip saddr {nets} tcp flags syn tcp option maxseg size set rt mtu
                ip daddr {nets} tcp flags syn tcp option maxseg size set rt mtu
            }}
        }}
    """
    run(["nft", "-f", "-"], text=rules)


def nameservers() -> list[str]:
    """Name servers of this machine that can be reached from another network namespace."""
    # systemd-resolved answers on loopback only and keeps the real servers in the second file.
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        lines = Path(path).read_text().splitlines() if Path(path).exists() else []
        servers = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
        if reachable := [server for server in servers if not server.startswith("127.") and server != "::1"]:
            return reachable
    raise LabError(
        "/etc/resolv.conf: names only servers on loopback, which the lab's hosts cannot reach; "
        "add a name server of your network to it"
    )


def _make_namespace(netns: str) -> None:
    ip("netns", "add", netns)
    ip("link", "set", "lo", "up", netns=netns)


def _plug(lab: Lab, port: str, bridge: str, netns: str, nic: str, mac: str) -> None:
    peer = ("peer", "name", nic, "address", mac, "netns", netns)
    ip("link", "add", port, "type", "veth", *peer, netns=lab.switch)
    ip("link", "set", port, "master", bridge, "up", netns=lab.switch)
    ip("link", "set", nic, "up", netns=netns)
