# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole URL table: every page, its methods, and the roles that may see it. What is not in it does not exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, abort, current_app, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.domain.errors import NotAllowed
from app.web import (
    account,
    approval,
    availability,
    change,
    health,
    home,
    hosts,
    login,
    maintenance,
    new,
    offer,
    reservation,
    resize,
    save,
    series,
    suspend,
    usage,
    visit,
)

# None stands for everybody, logged in or not.
EVERYBODY: frozenset[str] | None = None
ANY_ACCOUNT = frozenset({"service_provider", "cluster_provider", "operator"})
PROVIDERS = frozenset({"service_provider", "cluster_provider"})
CLUSTER_PROVIDER = frozenset({"cluster_provider"})
SITE_STAFF = frozenset({"cluster_provider", "operator"})

GET, POST, FORM = ("GET",), ("POST",), ("GET", "POST")
# Beyond this no database of ours has an id, and SQLite and PostgreSQL each refuse the number in their own way.
ID = "<int(max=2147483647):reservation_id>"
SERIES = "<int(max=2147483647):series_id>"
TOKEN = "<int(max=2147483647):token_id>"
HOST_ID = "<int(max=2147483647):host_id>"
MAINTENANCE_ID = "<int(max=2147483647):maintenance_id>"


@dataclass(frozen=True)
class Page:
    """One line of the table."""

    rule: str
    endpoint: str
    view: Callable[..., ResponseReturnValue]
    roles: frozenset[str] | None
    methods: tuple[str, ...] = GET


PAGES = (
    Page("/", "home.show", home.show, ANY_ACCOUNT),
    Page("/login", "login.enter", login.enter, EVERYBODY, FORM),
    Page("/logout", "login.leave", login.leave, EVERYBODY, POST),
    Page("/account", "account.show", account.show, ANY_ACCOUNT),
    Page("/account/tokens", "account.make_token", account.make_token, ANY_ACCOUNT, POST),
    Page(f"/account/tokens/{TOKEN}/revoke", "account.revoke_token", account.revoke_token, ANY_ACCOUNT, POST),
    Page("/availability", "availability.ask", availability.ask, PROVIDERS),
    Page("/usage", "usage.show", usage.show, PROVIDERS),
    Page("/usage.csv", "usage.as_csv", usage.as_csv, PROVIDERS),
    Page("/usage.json", "usage.as_json", usage.as_json, PROVIDERS),
    Page("/reservations", "reservation.listing", reservation.listing, PROVIDERS),
    Page("/reservations/new", "new.ask", new.ask, PROVIDERS, FORM),
    Page(f"/reservations/{ID}", "reservation.detail", reservation.detail, PROVIDERS),
    Page(f"/reservations/{ID}/live", "reservation.live", reservation.live, PROVIDERS),
    Page(f"/reservations/{ID}/history", "reservation.history", reservation.history, PROVIDERS),
    Page(f"/reservations/{ID}/steps.csv", "reservation.steps_csv", reservation.steps_csv, PROVIDERS),
    Page(f"/reservations/{ID}/cancel", "reservation.cancel", reservation.cancel, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/end", "change.end", change.end, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/owner", "change.owner", change.owner, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/resize", "resize.ask", resize.ask, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/suspend", "suspend.suspend", suspend.suspend, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/resume", "suspend.resume", suspend.resume, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/keep", "save.keep", save.keep, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/restore", "save.restore", save.restore, PROVIDERS, FORM),
    Page(f"/reservations/{ID}/note", "change.note", change.note, PROVIDERS, POST),
    Page(f"/reservations/{ID}/offer/accept", "offer.accept", offer.accept, PROVIDERS, POST),
    Page(f"/reservations/{ID}/offer/decline", "offer.decline", offer.decline, PROVIDERS, POST),
    Page(f"/series/{SERIES}", "series.show", series.show, PROVIDERS),
    Page(f"/series/{SERIES}/cancel", "series.cancel", series.cancel, PROVIDERS, POST),
    Page("/admin/approvals", "approval.queue", approval.queue, CLUSTER_PROVIDER),
    Page(f"/admin/approvals/{ID}/approve", "approval.approve", approval.approve, CLUSTER_PROVIDER, POST),
    Page(f"/admin/approvals/{ID}/reject", "approval.reject", approval.reject, CLUSTER_PROVIDER, POST),
    Page(f"/admin/approvals/{ID}/offer", "offer.ask", offer.ask, CLUSTER_PROVIDER, FORM),
    Page("/admin/hosts", "hosts.listing", hosts.listing, SITE_STAFF),
    Page(f"/admin/hosts/{HOST_ID}", "maintenance.describe", maintenance.describe, SITE_STAFF, FORM),
    Page("/admin/maintenance", "maintenance.listing", maintenance.listing, SITE_STAFF),
    Page("/admin/maintenance/enter", "maintenance.enter", maintenance.enter, SITE_STAFF, POST),
    Page(
        f"/admin/maintenance/{MAINTENANCE_ID}/cancel",
        "maintenance.cancel",
        maintenance.cancel,
        SITE_STAFF,
        POST,
    ),
    Page("/admin/volumes", "hosts.volumes", hosts.volumes, SITE_STAFF),
    Page("/admin/workers", "hosts.workers", hosts.workers, SITE_STAFF),
    Page("/healthz", "health.alive", health.alive, EVERYBODY),
    Page("/readyz", "health.ready", health.ready, EVERYBODY),
)
BY_ENDPOINT = {page.endpoint: page for page in PAGES}
ROLE_WORDS = {
    "service_provider": "service provider",
    "cluster_provider": "cluster provider",
    "operator": "operator",
}


def register(app: Flask) -> None:
    """Make the pages, and let each in only for its roles."""
    for page in PAGES:
        app.add_url_rule(page.rule, page.endpoint, page.view, methods=list(page.methods))
    app.before_request(_guard)
    app.context_processor(
        lambda: {"visitor": visit.visitor(), "may": may, "site": visit.site().settings.site}
    )


def may(endpoint: str) -> bool:
    """Whether the visitor may open this page."""
    roles, account = BY_ENDPOINT[endpoint].roles, visit.visitor()
    return roles is None or (account is not None and account.role in roles)


def _guard() -> ResponseReturnValue | None:
    """Answer for the page where the visitor may not see it; nothing is open unless the table says so."""
    if request.endpoint is None or request.endpoint == "static":
        return None
    page = BY_ENDPOINT.get(request.endpoint)
    if page is None:
        current_app.logger.error("%s is not in the URL table", request.endpoint)
        abort(404)
    if page.roles is None or (visit.visitor() is not None and may(page.endpoint)):
        return None
    if visit.visitor() is not None:
        wanted = " or ".join(ROLE_WORDS[role] for role in sorted(page.roles))
        raise NotAllowed(f"This page is for the role {wanted}; your role is {ROLE_WORDS[visit.me().role]}.")
    to_login = url_for("login.enter", next=request.full_path.rstrip("?") if request.method == "GET" else None)
    if request.headers.get("HX-Request"):
        # A polled block cannot follow a redirect: htmx opens this address as a whole page.
        return make_response("", 204, {"HX-Redirect": url_for("login.enter")})
    return redirect(to_login, 303)
