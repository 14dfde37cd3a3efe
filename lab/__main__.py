# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The command: python -m lab up|down|status|exec|snapshot."""

import argparse
import json
import os
import sys

from lab import host as hosts
from lab import lifecycle, plan
from lab.run import LabError
from lab.seen import snapshot


def main() -> int:
    arguments = _parser().parse_args()
    try:
        status: int = arguments.act(arguments)
    except (LabError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Real hosts on this one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for act, text in (
        (_up, "start what is off; with --fresh, from nothing"),
        (_down, "remove the lab and all that runs on its hosts"),
        (_status, "ask every daemon of every host"),
        (_exec, "run a command on a host: exec HOST -- COMMAND..."),
        (_snapshot, "print as JSON what is on the hosts now"),
    ):
        command = commands.add_parser(act.__name__[1:], help=text, description=text)
        command.add_argument("--name", default="demo", choices=sorted(plan.LABS), metavar="NAME")
        command.set_defaults(act=act)
        if act is _up:
            command.add_argument("--fresh", action="store_true", help="take down what is there first")
            command.add_argument(
                "hosts", nargs="*", metavar="HOST", help="these alone; all, where none is named"
            )
        if act is _exec:
            command.add_argument("host")
            command.add_argument("command", nargs="+")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    described = lifecycle.up(arguments.name, fresh=arguments.fresh, only=arguments.hosts)
    for host in described["hosts"]:
        print(f"{host['name']:4} {host['address']:14} {', '.join(host['roles'])}")
    print(f"lab {arguments.name}: up; told in {described['state_dir']}/lab.json", file=sys.stderr)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    lifecycle.down(arguments.name)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    answers = lifecycle.status(arguments.name)
    for host, daemons in answers.items():
        for daemon, wrong in daemons.items():
            print(f"{host:4} {daemon:8} {wrong or 'answers'}")
    return int(any(wrong for daemons in answers.values() for wrong in daemons.values()))


def _exec(arguments: argparse.Namespace) -> int:
    lab = plan.lab(arguments.name)
    argv = hosts.enter(lab, lab.host(arguments.host), arguments.command)
    os.execvp(argv[0], argv)  # noqa: S606  # an argv list, as everywhere


def _snapshot(arguments: argparse.Namespace) -> int:
    print(json.dumps(snapshot(arguments.name), indent=2, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
