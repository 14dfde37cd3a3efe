# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Slurm: one slurm.conf for controller and nodes from the one node list, one munge key for all."""

STEPS = [
    ["systemctl", "restart", "munge.service"],
    ["systemctl", "restart", "slurmctld.service"],
]
NODE_UNITS = ["munge.service", "slurmd.service"]
# Jobs outlive the restart of either daemon, and nodes that come or go are only learned of by one.
NODE_RESTARTS = ["slurmd.service"]
# A node at work for somebody is in the scheduler as well; the job goes to those that are not.
IN_SERVICE = ("idle", "mixed", "allocated", "completing")
SECRETS = {"munge.key": ("/etc/munge/munge.key", 0o400, "munge")}

CONF = """\
ClusterName={cluster}
SlurmctldHost={name}({address})
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MessageTimeout=60
SlurmdTimeout=300
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
{partitions}"""


def slurm_conf(site: dict) -> str:
    """slurm.conf; a node's memory less what the kernel keeps for itself, else Slurm drains it for having too little.

    Where there are several groups of nodes, each is a partition of its own name beside `main`, which has all.
    """
    groups = {}
    for node in site["nodes"]:
        groups.setdefault(node["group"], []).append(node["name"])
    for taken in [
        *(groups if len(groups) == 1 else []),
        "main",
        "default",
    ]:  # the last means something to Slurm
        groups.pop(taken, None)
    nodes = [
        f"NodeName={node['name']} NodeAddr={node['address']} CPUs={node['vcpus']} "
        f"RealMemory={node['memory_mib'] * 3 // 4} State=UNKNOWN"
        for node in site["nodes"]
    ]
    return CONF.format(
        cluster=site["cluster"],
        name=site["frontend"]["name"],
        address=site["frontend"]["private_address"],
        nodes="\n".join(nodes),
        names=",".join(node["name"] for node in site["nodes"]),
        partitions="".join(
            f"PartitionName={group} Nodes={','.join(names)} MaxTime=INFINITE State=UP\n"
            for group, names in groups.items()
        ),
    )


def frontend(site: dict) -> dict:
    return {"/etc/slurm/slurm.conf": (0o644, "root", slurm_conf(site))}


def nodes(site: dict) -> dict:
    # slurmd would else ask the message bus for a cgroup, and a node runs none.
    return frontend(site) | {"/etc/slurm/cgroup.conf": (0o644, "root", "IgnoreSystemd=yes\n")}


def checks(site: dict, run, failed) -> list:
    """The scheduler has these nodes and no other; one job runs on all that are idle, as the first user."""
    names = sorted(node["name"] for node in site["nodes"])

    def states() -> dict[str, str]:
        return dict(line.split() for line in run(["sinfo", "-h", "-N", "-o", "%N %T"]).splitlines())

    def scheduler() -> str:
        seen = states()
        wrong = [
            f"{name} is {seen.get(name, 'missing')}" for name in names if seen.get(name) not in IN_SERVICE
        ]
        wrong += [f"{name} is there, too" for name in sorted(seen.keys() - set(names))]
        if wrong:
            raise failed("; ".join(wrong))
        return f"{len(names)} nodes in service"

    def job() -> str:
        user = ["runuser", "-u", site["users"][0]["name"], "--"] if site["users"] else []
        idle = sorted(name for name, state in states().items() if state == "idle")
        if not idle:
            return "all nodes are at work"
        argv = [
            "srun",
            "--chdir=/tmp",
            "--immediate=60",
            f"--nodelist={','.join(idle)}",
            f"--nodes={len(idle)}",
            f"--ntasks={len(idle)}",
            "--ntasks-per-node=1",
            "hostname",
        ]
        answers = sorted(run([*user, *argv], timeout=120).split())
        if answers != idle:
            raise failed(f"hostname ran on {', '.join(answers)} and not on {', '.join(idle)}")
        return f"hostname ran on {len(idle)} nodes"

    return [("scheduler", scheduler), ("job", job)]
