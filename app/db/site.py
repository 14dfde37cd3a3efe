# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The site: its hosts with their roles, and the pools of numbers it lends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    Row,
    Select,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column, raiseload, relationship

from app.db.base import Base, Utc, rows
from app.domain.slot import Slot

# Hosts of these take a part of each cluster.
PLACED_ROLES = ("gateway", "compute", "storage")
HOST_ROLES = (*PLACED_ROLES, "builder")
HOST_STATES = ("enabled", "drained")
POOL_KINDS = ("network_id", "public_address")
# What a request may ask of hosts by a tag that no person can give: the hosts themselves tell it.
CAPABILITIES = frozenset({"kvm", "xen", "x86_64", "aarch64", "ppc64le", "riscv64", "s390x"})


class Host(Base):
    """A physical host as the passes reach it. `host_key` is pinned; until `suspect_until` the passes keep away.

    It has not answered since `failing_since`, and from `lost_at` on nothing is placed there: both are null again as
    soon as it answers.
    """

    __tablename__ = "host"
    __table_args__ = (
        CheckConstraint(f"state IN {HOST_STATES!r}", name="state"),
        CheckConstraint("vcpus >= 0 AND memory_mib >= 0 AND disk_mib >= 0", name="capacity"),
        CheckConstraint("port BETWEEN 1 AND 65535", name="port"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    address: Mapped[str] = mapped_column(String(255))
    port: Mapped[int] = mapped_column(default=22)
    host_key: Mapped[str] = mapped_column(String(1024))
    # Where its tunnels end; the SSH address where the site has but one network.
    data_address: Mapped[str] = mapped_column(String(64))
    # Where its iSCSI portal listens and its logins come from, where that is another network.
    storage_address: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="enabled")
    vcpus: Mapped[int] = mapped_column(default=0)
    memory_mib: Mapped[int] = mapped_column(default=0)
    disk_mib: Mapped[int] = mapped_column(default=0)
    # Of its public uplink, for gateways; none declared: not counted.
    bandwidth_mbit: Mapped[int | None]
    # What it has besides amounts, in the operator's words: a GPU, a fast network.
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    # What it can do, by its own facts: of CAPABILITIES.
    capabilities: Mapped[list[str]] = mapped_column(JSON, default=list)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    boot_id: Mapped[str | None] = mapped_column(String(64))
    failures: Mapped[int] = mapped_column(default=0)
    suspect_until: Mapped[datetime | None] = mapped_column(Utc)
    failing_since: Mapped[datetime | None] = mapped_column(Utc)
    lost_at: Mapped[datetime | None] = mapped_column(Utc)
    last_error: Mapped[str | None] = mapped_column(String(2000))
    last_seen_at: Mapped[datetime | None] = mapped_column(Utc)
    added_at: Mapped[datetime] = mapped_column(Utc)
    roles: Mapped[list[HostRole]] = relationship(cascade="all, delete-orphan", lazy="selectin")

    @property
    def role_names(self) -> frozenset[str]:
        """The roles by name."""
        return frozenset(role.role for role in self.roles)


class HostRole(Base):
    """One of a host's roles; a host may have several."""

    __tablename__ = "host_role"
    __table_args__ = (CheckConstraint(f"role IN {HOST_ROLES!r}", name="role"),)

    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)


class Maintenance(Base):
    """A time in which nothing may stand on a host: to be repaired, moved, upgraded."""

    __tablename__ = "maintenance"
    __table_args__ = (
        CheckConstraint("start_at < end_at", name="slot"),
        Index("ix_maintenance_host_id_end_at", "host_id", "end_at"),
        # A host by itself as a range: so no extension is asked for that only a superuser may install.
        ExcludeConstraint(
            (func.int4range(column("host_id"), column("host_id"), "[]"), "&&"),
            (func.tstzrange(column("start_at"), column("end_at")), "&&"),
            name="ex_maintenance_overlap",
        ).ddl_if(dialect="postgresql"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"))
    start_at: Mapped[datetime] = mapped_column(Utc)
    end_at: Mapped[datetime] = mapped_column(Utc)
    why: Mapped[str] = mapped_column(String(200), default="")


class Assignment(Base):
    """One number out of a pool (a VLAN ID or VNI, a public address as an integer) while a reservation holds it.

    Keyed by (reservation, kind, purpose), so that a retry takes the same one again; deleted only after every host
    reported that the thing is gone.
    """

    __tablename__ = "assignment"
    __table_args__ = (
        CheckConstraint(f"kind IN {POOL_KINDS!r}", name="kind"),
        UniqueConstraint("kind", "value"),
        UniqueConstraint("reservation_id", "kind", "purpose"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[int] = mapped_column(BigInteger)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(32))


# Asked at every booking, and so made once: making a statement costs more than running it.
CAPACITY = select(
    Host.id,
    Host.name,
    Host.vcpus,
    Host.memory_mib,
    Host.disk_mib,
    Host.bandwidth_mbit,
    # As it is written: most hosts have the same.
    cast(Host.tags, String).label("tags"),
    cast(Host.capabilities, String).label("capabilities"),
)
CAPACITIES = CAPACITY.where(Host.id.in_(bindparam("ids", type_=Integer, expanding=True))).order_by(Host.name)
IN_SERVICE = (
    CAPACITY.add_columns(HostRole.role)
    .join(HostRole, HostRole.host_id == Host.id)
    .where(Host.state == "enabled", Host.lost_at.is_(None), HostRole.role != "builder")
)
ALL_IN_SERVICE = IN_SERVICE.order_by(Host.name, HostRole.role)
IN_SLOT = and_(
    Maintenance.end_at > bindparam("start", type_=Utc), Maintenance.start_at < bindparam("end", type_=Utc)
)
MAINTENANCE = (
    select(Maintenance.host_id, Maintenance.start_at, Maintenance.end_at)
    .where(IN_SLOT)
    .order_by(Maintenance.id)
)


def _from_a_point(role: str) -> Select[*tuple[Any, ...]]:
    """So many hosts of the role (the parameter by its name), in a ring from `point` on, without those in repair."""
    point = bindparam("point", type_=BigInteger) % select(func.max(Host.id) + 1).scalar_subquery()
    repair = select(Maintenance.id).where(Maintenance.host_id == Host.id, IN_SLOT).exists()
    ring = IN_SERVICE.where(HostRole.role == role, ~repair).order_by(Host.id < point, Host.id)
    return select(*ring.limit(bindparam(role, type_=Integer)).subquery().c)


SOME_IN_SERVICE = union_all(*[_from_a_point(role) for role in PLACED_ROLES])


def hosts(session: Session) -> Sequence[Host]:
    """All hosts by name."""
    return session.scalars(select(Host).order_by(Host.name)).all()


def by_id(session: Session, ids: Collection[int]) -> dict[int, Host]:
    """These hosts by id, without their roles."""
    query = select(Host).where(Host.id.in_(ids)).options(raiseload(Host.roles))
    return {host.id: host for host in session.scalars(query)}


def host_by_name(session: Session, name: str) -> Host | None:
    """The host of that name."""
    return session.scalar(select(Host).where(Host.name == name))


def names_known(session: Session, names: Collection[str]) -> set[str]:
    """Those of these names that hosts have."""
    return set(session.scalars(select(Host.name).where(Host.name.in_(names))))


def in_service(session: Session) -> Sequence[Row[*tuple[Any, ...]]]:
    """As `capacities`, and role, of every host that may take guests or volumes, by name; a host of several roles is
    there once for each."""
    return rows(session, ALL_IN_SERVICE)


def some_in_service(
    session: Session, numbers: Mapping[str, int], point: int, slot: Slot
) -> Sequence[Row[*tuple[Any, ...]]]:
    """As `in_service`, so many of each role, in a ring from a point on that the number `point` stands for; none that
    is in repair at some moment of `slot`."""
    look = {role: numbers.get(role, 0) for role in PLACED_ROLES}
    return rows(session, SOME_IN_SERVICE, {**look, "point": point, "start": slot.start, "end": slot.end})


def capacities(session: Session, ids: Collection[int]) -> Sequence[Row[*tuple[Any, ...]]]:
    """id, name, vcpus, memory_mib, disk_mib, bandwidth_mbit, tags and capabilities (in JSON) of these."""
    return rows(session, CAPACITIES, {"ids": list(ids)})


def maintenance(session: Session, slot: Slot) -> Sequence[tuple[int, datetime, datetime]]:
    """host id, start and end of the maintenance of any host at some moment of `slot`."""
    found = rows(session, MAINTENANCE, {"start": slot.start, "end": slot.end})
    return [(host_id, start, end) for host_id, start, end in found]


def maintenance_ahead(session: Session, now: datetime) -> Sequence[tuple[Maintenance, str]]:
    """What maintenance is not over, by start, each with its host's name."""
    query = select(Maintenance, Host.name).join(Host, Host.id == Maintenance.host_id)
    query = query.where(Maintenance.end_at > now).order_by(Maintenance.start_at, Maintenance.id)
    return [(row, name) for row, name in session.execute(query)]


def assign(
    session: Session,
    kind: str,
    reservation_id: int,
    purpose: str,
    first: int,
    last: int,
    exclude: Iterable[int] = (),
) -> int | None:
    """The number of the pool [first, last] without `exclude` for this purpose: the one held already, else the lowest
    free one.

    None when all are taken. Call it under the ledger lock; the unique constraints have the last word.
    """
    mine = select(Assignment.value).where(
        Assignment.kind == kind, Assignment.reservation_id == reservation_id, Assignment.purpose == purpose
    )
    held = session.scalar(mine)
    if held is not None:
        return held
    there = select(Assignment.value).where(Assignment.kind == kind, Assignment.value.between(first, last))
    taken = {*exclude, *session.scalars(there)}
    value = next((value for value in range(first, last + 1) if value not in taken), None)
    if value is not None:
        session.add(Assignment(kind=kind, value=value, reservation_id=reservation_id, purpose=purpose))
        session.flush()
    return value


def assignments(session: Session, reservation_id: int) -> dict[tuple[str, str], int]:
    """What the reservation holds: (kind, purpose) -> number."""
    rows = session.scalars(select(Assignment).where(Assignment.reservation_id == reservation_id))
    return {(row.kind, row.purpose): row.value for row in rows}


def give_back(session: Session, reservation_id: int) -> None:
    """Let go of every number the reservation holds; only when nothing of it stands on any host."""
    session.execute(delete(Assignment).where(Assignment.reservation_id == reservation_id))
