# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""From every state a host may be in, an operation reaches what is wanted or refuses; a second run does nothing.

The host is a small world here that answers queries and carries out commands, stopping short at any of them, as a
killed helper does. What the operations make of it goes through their real plans and parsers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.node import converge
from workers.node.ops import OPS
from workers.node.protocol import Remit, Reply, Request
from workers.node.steps import (
    Command,
    Exec,
    FileSeen,
    Flood,
    FloodAdd,
    FloodDel,
    Free,
    GetLink,
    LinkAdd,
    LinkDel,
    LinkSeen,
    LinkSet,
    MakeDir,
    Output,
    Ports,
    ReadTail,
    Remove,
    RemoveTree,
    Rename,
    SetSize,
    Show,
    Stat,
    Tagged,
    TgtAccount,
    WriteFile,
)

MIB = 1 << 20
TARGET = "iqn.2026-11.org.leasehold:lh7-node1-root"
OTHER = "iqn.2001-04.com.example:other"
IMAGE = "node-0123456789ab"


class Killed(BaseException):
    """The helper was killed before its next command."""


@dataclass
class Target:
    """One target of tgtd."""

    name: str
    luns: dict[str, str] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    connections: int = 0


@dataclass
class World:
    """A host. `patience`: how many commands are still carried out before the helper is killed."""

    dir: str
    links: dict[str, LinkSeen] = field(default_factory=dict)
    flood: dict[str, set[str]] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # path -> (size, text)
    folders: set[str] = field(default_factory=set)
    targets: dict[str, Target] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    patience: int = 1000

    def ask(self, query: Any) -> Any:
        match query:
            case GetLink(name):
                return self.links.get(name)
            case Tagged(parent, vid):
                found = [link for link in self.links.values() if (link.parent, link.vid) == (parent, vid)]
                return found[0] if found else None
            case Ports(bridge):
                return tuple(sorted(link.name for link in self.links.values() if link.master == bridge))
            case Flood(link):
                return tuple(sorted(self.flood.get(link, ())))
            case Stat(path):
                if path in self.folders:
                    return FileSeen("dir")
                return FileSeen("file", self.files[path][0]) if path in self.files else None
            case ReadTail(path, limit):
                return self.files[path][1][-limit:] if path in self.files else None
            case Free():
                return 100 * MIB
            case Show(argv) if "account" in argv:
                return Output(0, "Account list:\n" + "".join(f"    {user}\n" for user in self.accounts))
            case Show(argv) if argv[0] == "tgtadm":
                return Output(0, "".join(shown(tid, target) for tid, target in self.targets.items()))
        raise AssertionError(f"nobody should ask {query}")

    def run(self, command: Command) -> None:
        if self.patience == 0:
            raise Killed
        self.patience -= 1
        match command:
            case LinkAdd(name, kind, mtu):
                assert name not in self.links, f"{name} is there already"
                if kind == "vlan":
                    parent, vid = str(command.parent), int(command.vid or 0)
                    assert self.ask(Tagged(parent, vid)) is None, "the tag is taken"
                    assert mtu <= self.links[parent].mtu
                extra = {key: getattr(command, key) for key in ("vni", "local", "port", "vid", "parent")}
                self.links[name] = LinkSeen(name, kind, None, mtu, own_addresses=True, **extra)
            case LinkSet(name):
                wanted = {key: value for key, value in vars(command).items() if value is not None}
                assert "master" not in wanted or wanted["master"] in self.links
                self.links[name] = replace(self.links[name], **wanted)
            case LinkDel(name):
                del self.links[name]
                self.flood.pop(name, None)
                freed = {
                    link.name: replace(link, master=None)
                    for link in self.links.values()
                    if link.master == name
                }
                self.links |= freed
            case FloodAdd(link, address):
                assert link in self.links
                self.flood.setdefault(link, set()).add(address)
            case FloodDel(link, address):
                self.flood[link].remove(address)
            case TgtAccount(user, password):
                assert user not in self.accounts, "this account already exists"
                self.accounts[user] = password
            case Exec(argv) if argv[0] == "tgtadm":
                self._tgtadm(dict(zip(argv[1::2], argv[2::2], strict=True)))
            case _:
                self._file(command)

    def _file(self, command: Command) -> None:
        match command:
            case MakeDir(path):
                assert path not in self.files
                self.folders |= {path, *(str(parent) for parent in Path(path).parents)}
            case Remove(path):
                assert path not in self.folders
                self.files.pop(path, None)
            case RemoveTree(path):
                self.folders = {p for p in self.folders if p != path and not p.startswith(path + "/")}
                self.files = {p: v for p, v in self.files.items() if not p.startswith(path + "/")}
            case SetSize(path, size):
                assert str(Path(path).parent) in self.folders
                self.files[path] = (size, self.files.get(path, (0, ""))[1])
            case WriteFile(path, text):
                assert str(Path(path).parent) in self.folders
                self.files[path] = (len(text), text)
            case Rename(path, to):
                assert to not in self.folders
                self.files[to] = self.files.pop(path)
            case Exec(("cp", _, _, _, image, part)):
                assert str(Path(part).parent) in self.folders
                self.files[part] = self.files[image]
            case Exec(("xorriso", *_, part, staging)):
                inside = {p: v[1] for p, v in self.files.items() if p.startswith(staging + "/")}
                self.files[part] = (1, repr(sorted(inside.items())))
            case _:
                raise AssertionError(f"nobody should run {command}")

    def _tgtadm(self, options: dict[str, str]) -> None:
        tid = options.get("--tid", "")
        match options["--mode"], options["--op"]:
            case "target", "new":
                assert tid not in self.targets, "this target already exists"
                assert options["--targetname"] not in {target.name for target in self.targets.values()}
                self.targets[tid] = Target(options["--targetname"])
            case "target", "delete":
                assert self.targets[tid].connections == 0, "this target is still active"
                del self.targets[tid]
            case "target", "bind":
                assert self.targets[tid].accounts, "opened before it asks for a secret"
                self.targets[tid].allowed.append(options["--initiator-address"])
            case "target", "unbind":
                self.targets[tid].allowed.remove(options["--initiator-address"])
            case "account", "bind":
                assert options["--user"] in self.accounts
                self.targets[tid].accounts.append(options["--user"])
            case "account", "unbind":
                self.targets[tid].accounts.remove(options["--user"])
            case "account", "delete":
                del self.accounts[options["--user"]]
                for target in self.targets.values():
                    target.accounts = [user for user in target.accounts if user != options["--user"]]
            case "logicalunit", "new":
                assert options["--backing-store"] in self.files
                assert options["--lun"] not in self.targets[tid].luns
                self.targets[tid].luns[options["--lun"]] = options["--backing-store"]
            case "logicalunit", "delete":
                del self.targets[tid].luns[options["--lun"]]
            case "conn", "delete":
                assert not self.targets[tid].allowed, "it would only come back"
                self.targets[tid].connections -= 1
            case unknown:
                raise AssertionError(f"nobody should run tgtadm {unknown}")


def shown(tid: str, target: Target) -> str:
    """A target as `tgtadm --mode target --op show` prints it."""
    lines = [f"Target {tid}: {target.name}", "    System information:", "        Driver: iscsi"]
    lines += ["        State: ready", "    I_T nexus information:"]
    for number in range(target.connections):
        lines += [f"        I_T nexus: {number + 1}", "            Initiator: iqn.x alias: none"]
        lines += ["            Connection: 0", "                IP Address: 198.18.255.11"]
    lines += ["    LUN information:"]
    for lun, path in {"0": "None", **target.luns}.items():
        lines += [
            f"        LUN: {lun}",
            "            Type: disk",
            f"            Backing store path: {path}",
        ]
        lines += ["            Backing store flags: "]
    lines += ["    Account information:", *(f"        {user}" for user in target.accounts)]
    lines += ["    ACL information:", *(f"        {address}" for address in target.allowed)]
    return "\n".join(lines) + "\n"


# -- where a world may begin --------------------------------------------------------------------------------

ARGS: dict[str, dict[str, Any]] = {
    "vxlan": {
        "link": "lh7-vx",
        "bridge": "lh7-br",
        "vni": 7,
        "local": "198.18.255.11",
        "peers": ["198.18.255.12", "198.18.255.13"],
        "mtu": 1450,
        "alias": "leasehold:lh7",
    },
    "vlan": {
        "link": "lh7-vl",
        "bridge": "lh7-br",
        "vid": 7,
        "parent": "eth1",
        "mtu": 1500,
        "alias": "leasehold:lh7",
    },
    "file": {"volume": "lh7-node1-root", "size_mib": 8, "image": IMAGE},
    "tgt": {
        "target": TARGET,
        "volume": "lh7-node1-root",
        "store": "file",
        "initiator": ["198.18.255.11", "198.18.255.12"],
        "user": "lh7-node1-root",
        "password": "not-a-real-secret",
    },
    "iso": {"iso": "lh7-node1", "label": "cidata", "files": {"meta-data": "x", "leasehold/site.json": "{}"}},
}
ADDRESSES = ["198.18.255.11", "198.18.255.12", "198.18.255.13", "198.18.255.14"]
aliases = st.sampled_from([None, "leasehold:lh7", "leasehold:lh8", "the admin's"])


@st.composite
def networks(draw: Any, op: str) -> World:
    world = World("")
    name = str(ARGS[op]["link"])
    numbers: dict[str, Any] = {"vni": draw(st.sampled_from([7, 8])), "local": "198.18.255.11", "port": 4789}
    if op == "vlan":
        numbers = {"vid": draw(st.sampled_from([7, 8])), "parent": draw(st.sampled_from(["eth1", "eth2"]))}
    mtus, flags = st.sampled_from([1450, 1500]), st.booleans()
    if draw(flags):
        world.links["lh7-br"] = LinkSeen(
            "lh7-br", "bridge", draw(aliases), draw(mtus), draw(flags), None, draw(flags)
        )
    if draw(flags):
        masters = st.sampled_from([None, *world.links])
        world.links[name] = LinkSeen(
            name, op, draw(aliases), draw(mtus), draw(flags), draw(masters), draw(flags), **numbers
        )
        world.flood[name] = set(draw(st.lists(st.sampled_from(ADDRESSES)))) if op == "vxlan" else set()
    if "lh7-br" in world.links and draw(flags):
        world.links["lh7-t1"] = LinkSeen("lh7-t1", "tun", None, 1450, True, "lh7-br")
    is_tagged = op == "vlan" and name in world.links and world.links[name].parent == "eth1"
    if is_tagged or draw(flags):  # without its parent there is no tagged link
        world.links["eth1"] = LinkSeen("eth1", None, None, draw(mtus), True)
    if op == "vlan" and "eth1" in world.links and draw(flags) and world.ask(Tagged("eth1", 7)) is None:
        rival = LinkSeen("eth1.7", "vlan", draw(aliases), 1450, vid=7, parent="eth1")
        world.links["eth1.7"] = rival
    return world


@st.composite
def disks(draw: Any, dir: str = "/d") -> World:
    world = World("", folders={dir, *draw(st.lists(st.sampled_from([f"{dir}/volumes", f"{dir}/images"])))})
    places = [f"{dir}/volumes/lh7-node1-root.raw", f"{dir}/volumes/.lh7-node1-root.part"]
    places += [f"{dir}/volumes/lh8-node1-root.raw", f"{dir}/images/{IMAGE}.raw"]
    for place in draw(st.sets(st.sampled_from(places))):
        world.folders.add(str(Path(place).parent))
        world.files[place] = (draw(st.sampled_from([0, 4, 8, 16])) * MIB, place)
    return world


@st.composite
def exports(draw: Any, dir: str = "/d") -> World:
    world = draw(disks(dir))
    users = ["lh7-node1-root", "lh8-node1-root"]
    world.accounts = dict.fromkeys(draw(st.sets(st.sampled_from(users))), "old")
    backing = [f"{dir}/volumes/lh7-node1-root.raw", f"{dir}/volumes/lh8-node1-root.raw", "/dev/sda"]
    for name in draw(st.sets(st.sampled_from([TARGET, OTHER]))):
        world.targets[str(draw(st.integers(1, 3)) + (3 if name == OTHER else 0))] = Target(
            name,
            draw(st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(backing))),
            [
                user
                for user in world.accounts
                if draw(st.booleans()) and (name == TARGET or "lh7" not in user)
            ],
            sorted(draw(st.sets(st.sampled_from(ADDRESSES)))),
            draw(st.integers(0, 2)),
        )
    return world


@st.composite
def discs(draw: Any, dir: str = "/d") -> World:
    world = World("", folders={dir})
    for name in draw(st.sets(st.sampled_from(["lh7-node1.iso", "lh7-node1.sha256", ".lh7-node1.part"]))):
        world.folders.add(f"{dir}/iso")
        world.files[f"{dir}/iso/{name}"] = (1, draw(st.sampled_from(["", "abc\n"])))
    if draw(st.booleans()):
        world.folders |= {f"{dir}/iso", f"{dir}/iso/.lh7-node1.d"}
        world.files[f"{dir}/iso/.lh7-node1.d/stale"] = (1, "stale")
    return world


WORLDS: dict[str, st.SearchStrategy[World]] = {
    "vxlan": networks("vxlan"),
    "vlan": networks("vlan"),
    "file": disks(),
    "tgt": exports(),
    "iso": discs(),
}


# -- what must hold -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("locks"))


class Host:
    """The door that converge.answer is given: the world's, with a folder for the locks."""

    def __init__(self, world: World, locks: str) -> None:
        self.dir, self.ask, self.run = locks, world.ask, world.run


def do(world: World, locks: str, op: str, want: str) -> Reply:
    remit = Remit("lh", "/d", tuple(OPS))
    request = Request("1", op, want, ARGS[op])
    return converge.answer(request, remit, Host(world, locks))  # type: ignore[arg-type]


def others(world: World) -> list[Any]:
    """All that is not ours to change, whatever was asked for."""
    foreign_targets = [t for t in world.targets.values() if t.name != TARGET]
    files = {path: value for path, value in world.files.items() if "lh7-node1" not in path}
    links = {
        name: replace(link, master=None)
        for name, link in world.links.items()
        if name not in ("lh7-vx", "lh7-vl", "lh7-br") or link.alias not in (None, "leasehold:lh7")
    }
    return copy.deepcopy([foreign_targets, files, links, [u for u in world.accounts if "lh7" not in u]])


def is_gone(world: World, op: str) -> bool:
    """Nothing of the operation's own is left."""
    left: dict[str, Sequence[object]] = {
        "vxlan": [name for name in world.links if name in ("lh7-vx", "lh7-br")],
        "vlan": [name for name in world.links if name in ("lh7-vl", "lh7-br")],
        "file": [path for path in world.files if "lh7-node1-root" in path],
        "tgt": [t for t in world.targets.values() if t.name == TARGET]
        + [u for u in world.accounts if "lh7" in u],
        "iso": [path for path in (*world.files, *world.folders) if "lh7-node1" in path],
    }
    return not left[op]


@pytest.mark.parametrize("op", WORLDS)
@given(data=st.data())
def test_every_start_leads_there_and_a_second_run_is_no_work(
    op: str, locks: str, data: st.DataObject
) -> None:
    world = data.draw(WORLDS[op])
    for want in data.draw(st.permutations(["present", "absent"])):
        before = others(world)
        reply = do(world, locks, op, want)
        assert others(world) == before
        if not reply.ok:
            assert reply.error is not None
            assert reply.error.code in ("not_ours", "busy", "bad_request", "no_space", "tool_failed")
            assert (reply.changed, reply.did) == (False, ()), "refused before anything was done"
            continue
        assert reply.state == want
        again = do(world, locks, op, want)
        assert (again.ok, again.state, again.changed) == (True, want, False)
        assert want == "present" or is_gone(world, op)


@pytest.mark.parametrize("op", WORLDS)
@given(data=st.data())
def test_a_helper_killed_anywhere_is_carried_on(op: str, locks: str, data: st.DataObject) -> None:
    """However many commands were carried out, the next run reaches the same end as an undisturbed one."""
    world = data.draw(WORLDS[op])
    want = data.draw(st.sampled_from(["present", "absent"]))
    undisturbed = copy.deepcopy(world)
    if not do(undisturbed, locks, op, want).ok:
        return
    world.patience = data.draw(st.integers(0, 12))
    try:
        do(world, locks, op, want)
    except Killed:
        world.patience = 1000
        assert do(world, locks, op, want).ok
    assert end(world) == end(undisturbed)


def end(world: World) -> list[Any]:
    """The world without what may differ: the numbers tgtd's targets were given."""
    targets = sorted(world.targets.values(), key=lambda target: target.name)
    return [world.links, {k: v for k, v in world.flood.items() if v}, world.files, targets, world.accounts]


def test_the_world_stops_where_it_is_told_to(locks: str) -> None:
    """The sweep above kills nobody unless this works."""
    world = World("", folders={"/d"}, patience=1)
    world.files[f"/d/images/{IMAGE}.raw"] = (4 * MIB, "golden")
    with pytest.raises(Killed):
        do(world, locks, "file", "present")
    world.patience = 1000
    assert do(world, locks, "file", "present").changed
    assert not do(world, locks, "file", "present").changed
