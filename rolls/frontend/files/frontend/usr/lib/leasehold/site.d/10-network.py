# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The frontend as router, DHCP and name server of the private network, from the one node list of the site roll."""

import ipaddress

STEPS = [
    ["sysctl", "--quiet", "--load=/etc/sysctl.d/60-leasehold.conf"],
    ["nft", "--file", "/etc/nftables.conf"],
    ["systemctl", "restart", "leasehold-dnsmasq.service"],
]

NFT = """\
flush ruleset
table inet leasehold {{
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname {{ "lo", "{private}" }} accept
        icmp type echo-request accept
        tcp dport 22 accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        tcp flags syn tcp option maxseg size set rt mtu
        iifname "{private}" oifname "{public}" ip saddr {network} accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{public}" ip saddr {network} masquerade
    }}
}}
"""


def hosts(site: dict) -> str:
    """/etc/hosts, the same on every machine of the cluster."""
    rows = [
        "127.0.0.1\tlocalhost",
        f"{site['frontend']['private_address']}\t{site['frontend']['name']} leasehold-frontend",
    ]
    return "\n".join(rows + [f"{node['address']}\t{node['name']}" for node in site["nodes"]]) + "\n"


def dnsmasq(site: dict) -> str:
    """Leases for the nodes of the list and for nobody else; their names, and forwarding of all others."""
    network = ipaddress.ip_network(site["private_network"])
    address = site["frontend"]["private_address"]
    rows = [
        "bind-dynamic",
        f"interface={site['private_interface']}",
        f"except-interface={site['public_interface']}",
        "no-resolv",
        "domain-needed",
        "bogus-priv",
        *[f"server={server}" for server in site["dns"]],
        f"dhcp-range={network.network_address},static,{network.netmask},infinite",
        "dhcp-authoritative",
        "dhcp-leasefile=/run/leasehold/dnsmasq.leases",
        "no-ping",
        f"dhcp-option=option:router,{address}",
        f"dhcp-option=option:dns-server,{address}",
        f"dhcp-option=option:mtu,{site['mtu']}",
        *[f"dhcp-host={node['mac']},{node['name']},{node['address']},infinite" for node in site["nodes"]],
    ]
    return "\n".join(rows) + "\n"


def frontend(site: dict) -> dict:
    resolv = "".join(f"nameserver {server}\n" for server in site["dns"])
    rules = NFT.format(
        private=site["private_interface"], public=site["public_interface"], network=site["private_network"]
    )
    return {
        "/etc/hosts": (0o644, "root", hosts(site)),
        "/etc/resolv.conf": (0o644, "root", resolv),
        "/etc/nftables.conf": (0o644, "root", rules),
        "/etc/sysctl.d/60-leasehold.conf": (0o644, "root", "net.ipv4.ip_forward=1\n"),
        "/etc/dnsmasq.conf": (0o644, "root", dnsmasq(site)),
    }


def nodes(site: dict) -> dict:
    return {"/etc/hosts": (0o644, "root", hosts(site))}
