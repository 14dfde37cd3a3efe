# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Configure a frontend from its site roll: every roll says what, this file does it.

Safe to repeat, at each boot and for each new edition of the site roll, with nodes at work.

Each roll may put a module into site.d/. It has pure functions over `site` (the parsed leasehold/site.json, with
`private_interface` and `public_interface` added):
    frontend(site) -> {path: (mode, owner, text)}     files of the frontend
    nodes(site)    -> {path: (mode, owner, text)}     files that every compute node copies from the identity export
    STEPS          = [argv, ...]                      what the frontend runs after all files are written
    NODE_UNITS     = [unit, ...]                      what a compute node starts once it has its files
    NODE_RESTARTS  = [unit, ...]                      what of it restarts to follow a new edition of the site roll
    SECRETS        = {"name on the ISO": (path, mode, owner)}   base64 text, decoded, for frontend and nodes alike
    checks(site, run, failed) -> [(name, function)]   see accept.py
"""

import base64
import importlib.util
import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

LIB = Path(__file__).parent
SITE = Path("/run/leasehold/site/leasehold")
IDENTITY = Path("/srv/leasehold")
KEYS = Path("/var/lib/leasehold/keys")


def load_rolls(folder: Path = LIB / "site.d") -> list:
    """The rolls' modules in the order of their file names."""
    modules = []
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"site_{path.stem.replace('-', '_')}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    return modules


def read_site() -> dict:
    """The site roll with its edition and the names of the frontend's interfaces, found by their MAC addresses."""
    site = json.loads((SITE / "site.json").read_text())
    site["edition"] = (SITE / "edition").read_text().strip()
    by_mac = {
        (path / "address").read_text().strip().lower(): path.name for path in Path("/sys/class/net").iterdir()
    }
    for side in ("private", "public"):
        site[f"{side}_interface"] = by_mac[site["frontend"][f"{side}_mac"].lower()]
    return site


def write(path: Path, mode: int, owner: str, content: bytes) -> None:
    """Make the file so, by a rename, and only when it is not so already."""
    entry = pwd.getpwnam(owner)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_bytes() == content:
        os.chown(path, entry.pw_uid, entry.pw_gid)
        path.chmod(mode)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
        partial.write(content)
        os.fchown(partial.fileno(), entry.pw_uid, entry.pw_gid)
        os.fchmod(partial.fileno(), mode)
    os.replace(partial.name, path)


def make_key(path: Path, comment: str) -> str:
    """The public half of an ed25519 key pair at path, made when there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path.with_name(path.name + ".pub").read_text().strip()


def run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, timeout=300, stdin=subprocess.DEVNULL)


def files_of(roll, side: str, site: dict) -> dict[str, tuple[int, str, bytes]]:
    """What a roll's function `side` says, if it has one, as bytes."""
    said = getattr(roll, side)(site) if hasattr(roll, side) else {}
    return {path: (mode, owner, text.encode()) for path, (mode, owner, text) in said.items()}


def give_identity(site: dict, rolls: list, secrets: dict[str, bytes]) -> None:
    """Write what the compute nodes read: their names, the users, all rolls' files, and the list of units to start."""
    known = [
        f"{site['frontend']['name']},{site['frontend']['private_address']} "
        + " ".join(Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])
    ]
    for node in site["nodes"]:
        key = KEYS / node["name"]
        known.append(f"{node['name']},{node['address']} " + " ".join(make_key(key, node["name"]).split()[:2]))
        write(IDENTITY / "keys" / node["name"], 0o600, "root", key.read_bytes())
    known_text = ("\n".join(known) + "\n").encode()
    write(Path("/etc/ssh/ssh_known_hosts"), 0o644, "root", known_text)

    files = {
        "/etc/ssh/ssh_known_hosts": (0o644, "root", known_text),
        "/root/.ssh/authorized_keys": (
            0o600,
            "root",
            (make_key(KEYS / "cluster", "cluster") + "\n").encode(),
        ),
    }
    for roll in rolls:
        files |= files_of(roll, "nodes", site)
        for name, (path, mode, owner) in getattr(roll, "SECRETS", {}).items():
            files[path] = (mode, owner, secrets[name])
    manifest = []
    for path, (mode, owner, content) in sorted(files.items()):
        write(IDENTITY / "tree" / path.lstrip("/"), 0o600, "root", content)
        manifest.append(f"{mode:04o} {owner} {path}")
    lines = {
        "manifest": manifest,
        "units": [unit for roll in rolls for unit in getattr(roll, "NODE_UNITS", [])],
        "restarts": [unit for roll in rolls for unit in getattr(roll, "NODE_RESTARTS", [])],
        "users": [f"{user['name']} {user['uid']}" for user in site["users"]],
        "edition": [site["edition"]],
        # Last, because a node that finds its address here goes on to read the rest.
        "nodes": [f"{node['mac'].lower()} {node['name']} {node['address']}" for node in site["nodes"]],
    }
    for name, rows in lines.items():
        write(IDENTITY / name, 0o600, "root", ("\n".join(rows) + "\n").encode())
    for left in {path.name for path in (IDENTITY / "keys").iterdir()} - {
        node["name"] for node in site["nodes"]
    }:
        (IDENTITY / "keys" / left).unlink()


def give_user_keys(site: dict) -> None:
    """A key pair of its own for each user, so that one may go from node to node inside the cluster."""
    for user in site["users"]:
        folder = Path("/home") / user["name"] / ".ssh"
        entry = pwd.getpwnam(user["name"])
        public = make_key(KEYS / "users" / user["name"], f"{user['name']}@{site['cluster']}")
        if (folder / "id_ed25519").exists():
            continue
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        authorized = folder / "authorized_keys"
        lines = authorized.read_text().splitlines() if authorized.exists() else []
        if public not in lines:
            write(authorized, 0o600, user["name"], ("\n".join([*lines, public]) + "\n").encode())
        write(folder / "id_ed25519.pub", 0o644, user["name"], (public + "\n").encode())
        write(folder / "id_ed25519", 0o600, user["name"], (KEYS / "users" / user["name"]).read_bytes())


def main() -> int:
    site, rolls = read_site(), load_rolls()
    names = {name for roll in rolls for name in getattr(roll, "SECRETS", {})}
    secrets = {name: base64.b64decode((SITE / name).read_text()) for name in names}
    for roll in rolls:
        for path, (mode, owner, content) in files_of(roll, "frontend", site).items():
            write(Path(path), mode, owner, content)
        for name, (path, mode, owner) in getattr(roll, "SECRETS", {}).items():
            write(Path(path), mode, owner, secrets[name])
    give_user_keys(site)
    give_identity(site, rolls, secrets)
    for roll in rolls:
        for argv in getattr(roll, "STEPS", []):
            run(argv)
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    ready = {"event": "ready", "node": site["frontend"]["name"], "edition": site["edition"]}
    run([str(LIB / "report"), json.dumps(ready | {"uptime_s": round(uptime, 1)})])
    return 0


if __name__ == "__main__":
    sys.exit(main())
