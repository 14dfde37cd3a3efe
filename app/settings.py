# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The site's settings: one frozen object from a TOML file and the environment, checked once at start."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from app.domain.approval import AutoApprove
from app.domain.errors import SiteError
from app.domain.roll import Seats

DEFAULT_FILE = "/etc/leasehold/leasehold.toml"
# Names that the kernel's target takes with a colon and a name of ours after them (normalize_wwn in rtslib 2.1.75).
LIO_BASE = re.compile(r"iqn\.[0-9]{4}-(0[1-9]|1[0-2])(\.[a-z0-9]+(-+[a-z0-9]+)*){2,}")


@dataclass(frozen=True)
class Web:
    """The pages: where cookies may travel and how logins are slowed down."""

    secret_key_file: str = "/var/lib/leasehold/web.key"
    secure_cookies: bool = True
    session_hours: int = 12
    login_tries: int = 10
    login_window_s: int = 60


@dataclass(frozen=True)
class Booking:
    """How long a request is held unanswered, how early building starts, and the most one may ask for.

    `gap_s` is kept free on whatever a cluster used before the next may have it. A host lends `vcpu_ratio` times its
    processors and `memory_ratio` times its memory.
    """

    hold_hours: int = 72
    lead_s: int = 600
    max_nodes: int = 1000
    max_days: int = 366
    frontend_vcpus: int = 1
    frontend_memory_mib: int = 1024
    frontend_disk_gib: int = 4
    # Counted against what gateways declare; 0: not counted.
    frontend_bandwidth_mbit: int = 0
    gap_s: int = 0
    vcpu_ratio: float = 1.0
    memory_ratio: float = 1.0
    # May a service provider extend what was approved without being approved again?
    owner_extends: bool = False
    # For each project that has no such ceiling of its own; not set: there is none, 0: nothing. See domain.quota.
    quota_nodes: int | None = None
    quota_node_hours: int | None = None
    quota_length_hours: int | None = None
    quota_reservations: int | None = None
    notice_s: int = 0
    # Requests that need no person's approval.
    auto_approve: tuple[AutoApprove, ...] = ()
    # Of rolls with fewer licence seats than somebody might ask for.
    seats: tuple[Seats, ...] = ()
    # May a cluster provider approve a request of their own? A site with only one has to let them.
    own_approval: bool = True


@dataclass(frozen=True)
class Network:
    """The network driver and the pools; `private` is the subnet inside every cluster.

    Of `first_id` to `last_id` those in `exclude_ids` are never given to a cluster: something else has them.
    """

    driver: str = "vxlan"
    first_id: int = 1000
    last_id: int = 1999
    exclude_ids: tuple[int, ...] = ()
    parent: str = "eth1"
    mtu: int = 1450
    private: str = "10.20.0.0/16"
    public: str = "198.19.0.0/24"
    public_first: str = "198.19.0.100"
    public_last: str = "198.19.0.199"
    public_gateway: str = "198.19.0.1"
    public_bridge: str = "br-public"
    dns: tuple[str, ...] = ()
    outside_check: str = ""


@dataclass(frozen=True)
class Storage:
    """The drivers for volumes, exports and the attaching of disks, and the base of target names.

    The rest is for LVM, `lio` and `open_iscsi`: where volumes are (thick ones need no pool), from which use of the pool
    nothing new is made in it, what becomes of a volume's data at its end, how long a guest's disk waits for a storage
    host that is lost, and the block of the hosts' addresses in clusters' own networks, over which disks travel there.
    """

    volume: str = "file"
    export: str = "tgt"
    attach: str = "qemu"
    iqn_base: str = "iqn.2026-11.org.leasehold"
    volume_group: str = "leasehold"
    thin_pool: str = "pool"
    # The size of the pool where it is to be made; 0: it has to be there.
    pool_gib: int = 0
    full_percent: int = 90
    wipe: str = "discard"
    wait_s: int = 3600
    # Of each VLAN ID a 4096th. Empty: disks travel between the hosts' own, as without VLANs.
    portals: str = "100.64.0.0/10"


@dataclass(frozen=True)
class Image:
    """Golden images: the distribution they hold and where it is fetched from."""

    suite: str = "bookworm"
    mirror: str = "http://deb.debian.org/debian"


@dataclass(frozen=True)
class Passes:
    """Time-outs of the passes in seconds; a lease always outlives the call made under it."""

    lease_s: float = 60.0
    deadline_s: float = 45.0
    poll_s: float = 1.0
    backoff_first_s: float = 2.0
    backoff_most_s: float = 300.0
    suspect_first_s: float = 5.0
    suspect_most_s: float = 120.0
    # A host with something of ours that nobody has heard from for so long is asked for it again: it may have been
    # rebooted, or be gone. 0: never.
    look_s: float = 60.0
    # A host that has not answered for so long is lost: what is booked there and not built yet is placed elsewhere.
    lost_after_s: float = 600.0


@dataclass(frozen=True)
class Settings:
    """All of it. `mark` is the prefix of every name we make on a host."""

    database: str = "sqlite:////var/lib/leasehold/leasehold.sqlite"
    site: str = "Leasehold"
    mark: str = "lh"
    ssh_key_file: str = "/var/lib/leasehold/ssh/id_ed25519"
    site_key_file: str = "/var/lib/leasehold/site.key"
    rolls_dir: str = ""
    host_dir: str = "/var/lib/leasehold"
    # libvirt: QEMU, with or without KVM; xen; or null: guests that are only files, for measuring and trying out the
    # rest. Those have disks where the host attaches them itself (storage.attach "open_iscsi").
    hypervisor: str = "libvirt"
    web: Web = field(default_factory=Web)
    booking: Booking = field(default_factory=Booking)
    network: Network = field(default_factory=Network)
    storage: Storage = field(default_factory=Storage)
    image: Image = field(default_factory=Image)
    passes: Passes = field(default_factory=Passes)

    @property
    def hold(self) -> timedelta:
        """How long an unanswered request keeps its place."""
        return timedelta(hours=self.booking.hold_hours)

    @property
    def portals(self) -> ipaddress.IPv4Network | None:
        """The block of storage addresses in clusters' own networks; None where targets listen on hosts' own."""
        is_own = (self.network.driver, self.storage.export) == ("vlan", "lio") and self.storage.portals
        return ipaddress.IPv4Network(self.storage.portals) if is_own else None


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path` (else $LEASEHOLD_CONFIG, else DEFAULT_FILE if there is one) and the environment.

    LEASEHOLD_SECTION__KEY overrides a key of a section, LEASEHOLD__KEY one at the top. SiteError names the key that
    is wrong. A file that was named but is missing is an error; a missing default file means the defaults.
    """
    environ = os.environ if environ is None else environ
    named = path or environ.get("LEASEHOLD_CONFIG")
    file = Path(named or DEFAULT_FILE)
    try:
        raw = tomllib.loads(file.read_text()) if named or file.exists() else {}
    except (OSError, tomllib.TOMLDecodeError) as why:
        raise SiteError(f"The configuration {file} cannot be read: {why}") from why
    for key, value in environ.items():
        section, found, name = key.removeprefix("LEASEHOLD").lower().partition("__")
        if key.startswith("LEASEHOLD_") and found:
            target = raw.setdefault(section.removeprefix("_"), {}) if section else raw
            target[name] = value
    settings = _build(Settings, raw, str(file))
    _check(settings)
    return settings


def _build(kind: type[Any], raw: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    unknown = set(raw) - {f.name for f in fields(kind)}
    if unknown:
        raise SiteError(f"{where}: there is no setting {sorted(unknown)[0]!r}.")
    values = {}
    for name, value in raw.items():
        wanted = hints[name]
        if isinstance(wanted, type) and is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise SiteError(f"{where}: [{name}] must be a table.")
            values[name] = _build(wanted, value, f"{where} [{name}]")
        elif get_origin(wanted) is tuple and is_dataclass(get_args(wanted)[0]):
            if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
                raise SiteError(f"{where}: [[{name}]] must be tables.")
            values[name] = tuple(_build(get_args(wanted)[0], one, f"{where} [[{name}]]") for one in value)
        else:
            values[name] = _convert(value, wanted, f"{where}: {name}")
    missing = [
        f.name for f in fields(kind) if f.default is f.default_factory is MISSING and f.name not in raw
    ]
    if missing:
        raise SiteError(f"{where}: {missing[0]} is missing.")
    return kind(**values)


def _convert(value: Any, wanted: Any, where: str) -> Any:
    if isinstance(wanted, UnionType):
        wanted = get_args(wanted)[0]
    try:
        if wanted is bool:
            if isinstance(value, str):
                return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
            if not isinstance(value, bool):
                raise ValueError
            return value
        if wanted in (int, float):
            if isinstance(value, bool):
                raise ValueError
            return wanted(value)
        if wanted is str:
            if not isinstance(value, str):
                raise ValueError
            return value
        items = value.split(",") if isinstance(value, str) else value
        return tuple(
            _convert(item, int, where) if get_args(wanted)[0] is int else str(item) for item in items
        )
    except (KeyError, OverflowError, TypeError, ValueError):
        raise SiteError(
            f"{where} is {value!r}, which is not {getattr(wanted, '__name__', wanted)}."
        ) from None


def _check(settings: Settings) -> None:
    net, times, book = settings.network, settings.passes, settings.booking
    most = 4094 if net.driver == "vlan" else (1 << 24) - 1
    if settings.hypervisor not in ("libvirt", "xen", "null"):
        raise SiteError(f"hypervisor is {settings.hypervisor!r}: choose libvirt, xen or null.")
    if settings.hypervisor == "xen" and settings.storage.attach != "open_iscsi":
        raise SiteError(
            'hypervisor is "xen": its guests get devices of the host; set storage.attach to "open_iscsi".'
        )
    if not (0 < book.vcpu_ratio <= 64 and 0 < book.memory_ratio <= 4):
        raise SiteError("booking.vcpu_ratio must lie in 0..64 and booking.memory_ratio in 0..4, above 0.")
    if not 0 <= book.gap_s <= 86_400 or book.frontend_bandwidth_mbit < 0:
        raise SiteError("booking.gap_s must lie in 0..86400, booking.frontend_bandwidth_mbit not below 0.")
    ceilings = (book.quota_nodes, book.quota_node_hours, book.quota_length_hours, book.quota_reservations)
    if min(book.notice_s, *(0 if one is None else one for one in ceilings)) < 0:
        raise SiteError(
            "booking.quota_... and notice_s are not below 0; 0 allows nothing, not set is no ceiling."
        )
    rolls = [seats.roll for seats in book.seats]
    if len(rolls) > len(set(rolls)) or not all(0 < len(roll) <= 31 for roll in rolls):
        raise SiteError("[[booking.seats]]: each names another roll.")
    if not all(seats.number >= 0 and seats.per in ("node", "cluster") for seats in book.seats):
        raise SiteError("[[booking.seats]]: number is not below 0; per is node or cluster.")
    names = [rule.name for rule in book.auto_approve]
    if len(names) > len(set(names)) or not all(0 < len(name) <= 40 for name in names):
        raise SiteError("[[booking.auto_approve]]: each rule has a name of its own, of 1 to 40 characters.")
    if net.driver not in ("vlan", "vxlan"):
        raise SiteError(f"network.driver is {net.driver!r}: choose vlan or vxlan.")
    if not 1 <= net.first_id <= net.last_id <= most:
        raise SiteError(f"network.first_id..last_id must lie within 1..{most} for {net.driver}.")
    for number in net.exclude_ids:
        if not net.first_id <= number <= net.last_id:
            raise SiteError(f"network.exclude_ids: {number} does not lie within first_id..last_id.")
    _check_storage(settings.storage)
    try:
        private = ipaddress.IPv4Network(net.private)
        public = ipaddress.IPv4Network(net.public)
        ends = [ipaddress.IPv4Address(a) for a in (net.public_first, net.public_last, net.public_gateway)]
    except ValueError as why:
        raise SiteError(f"[network]: {why}.") from why
    _check_portals(settings.storage.portals, private, public)
    if not all(end in public for end in ends) or ends[0] > ends[1]:
        raise SiteError(
            "[network]: public_first..public_last and public_gateway must lie within public, in order."
        )
    if times.deadline_s >= times.lease_s:
        raise SiteError(
            "passes.deadline_s must be less than passes.lease_s: a call may not outlive its lease."
        )
    if not settings.mark.isalpha() or not settings.mark.islower() or len(settings.mark) > 4:
        raise SiteError("mark must be 1 to 4 lower-case letters.")


def _check_portals(portals: str, *others: ipaddress.IPv4Network) -> None:
    if not portals:
        return
    try:
        block = ipaddress.IPv4Network(portals)
    except ValueError as why:
        raise SiteError(f"storage.portals: {why}.") from why
    if block.prefixlen > 18:
        raise SiteError(f"storage.portals: {block} has too few addresses for 4096 VLANs: /18 is the least.")
    if any(block.overlaps(other) for other in others):
        raise SiteError(f"storage.portals: {block} overlaps network.private or network.public.")


def _check_storage(storage: Storage) -> None:
    choices = {
        "volume": ("file", "lvm", "lvm_thick"),
        "export": ("tgt", "lio"),
        "attach": ("qemu", "open_iscsi"),
        "wipe": ("discard", "zero", "none"),
    }
    for name, allowed in choices.items():
        if getattr(storage, name) not in allowed:
            raise SiteError(f"storage.{name} is {getattr(storage, name)!r}: choose {' or '.join(allowed)}.")
    if storage.export == "lio" and (storage.volume == "file" or storage.attach != "open_iscsi"):
        raise SiteError(
            'storage.export "lio" goes with volume "lvm" or "lvm_thick" and with attach "open_iscsi".'
        )
    if storage.export == "lio" and not LIO_BASE.fullmatch(storage.iqn_base):
        raise SiteError(
            "storage.iqn_base: the kernel's target wants iqn., year-month and a domain of two parts or more backwards,"
            " all in lower case, like iqn.2026-11.org.example."
        )
    for name in ("volume_group", "thin_pool"):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", getattr(storage, name)):
            raise SiteError(f"storage.{name} must be a name of letters, digits, _ . and -.")
    if not (1 <= storage.full_percent <= 100 and 0 <= storage.pool_gib <= 1 << 20):
        raise SiteError("storage.full_percent must lie in 1..100 and storage.pool_gib in 0..1048576.")
    if not 1 <= storage.wait_s <= 7 * 86_400:
        raise SiteError("storage.wait_s must lie in 1..604800.")
