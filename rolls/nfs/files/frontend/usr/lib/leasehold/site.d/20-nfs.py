# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""/home for everyone and the identity for root, exported to the private network over NFS version 4."""

# Not restarted where it runs: that would hold up /home on every node at work.
STEPS = [["systemctl", "start", "nfs-server.service"], ["exportfs", "-ra"]]
NODE_UNITS = ["home.mount"]


def frontend(site: dict) -> dict:
    network = site["private_network"]
    # The identity holds the cluster's secrets: readable by root alone, and only from a privileged port of a node.
    return {
        "/etc/exports": (
            0o644,
            "root",
            f"/home {network}(rw,sync,no_subtree_check,root_squash,sec=sys)\n"
            f"/srv/leasehold {network}(ro,sync,no_subtree_check,no_root_squash,secure,sec=sys)\n",
        )
    }
