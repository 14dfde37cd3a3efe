# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Logging in and out: a session holds the account's session epoch, so changing that ends all of them."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, login_user, logout_user

from app.booking import account as accounts
from app.booking.account import Throttled
from app.db.account import Account, by_epoch
from app.domain.errors import InvalidRequest
from app.web import visit
from app.web.forms import LogIn


class Visitor(UserMixin):
    """An account as Flask-Login wants it."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_id(self) -> str:
        return self.account.session_epoch


def register(app: Flask) -> None:
    """Load the visitor of a request from its session."""
    manager = LoginManager()
    # Without its context processor, which would ask the database on error pages too; pages use `visitor`.
    manager.init_app(app, add_context_processor=False)
    manager.user_loader(_load)


def _load(epoch: str) -> Visitor | None:
    account = by_epoch(visit.reading(), epoch)
    return Visitor(account) if account else None


def enter() -> ResponseReturnValue:
    """The login page."""
    form, problem, status = LogIn(), None, 200
    if request.method == "POST":
        name, password = form.name.data or "", form.password.data or ""
        try:
            account = _check(name, password)
        except InvalidRequest as why:
            problem, status = next(iter(why.fields.values())), 429 if isinstance(why, Throttled) else 422
        else:
            # A fresh session: nothing that was planted in the old one, its CSRF token included, lives on.
            session.clear()
            session.permanent = True
            login_user(Visitor(account))
            return redirect(safe_next(request.args.get("next")), 303)
    page = render_template("login.html", form=form, problem=problem)
    seconds = visit.site().settings.web.login_window_s
    return page, status, {"Retry-After": str(seconds)} if status == 429 else {}


def _check(name: str, password: str) -> Account:
    """The account of `name`. What no account can have (control characters, 1 MB) is wrong in the ordinary way."""
    site = visit.site()
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)[:64]
    address = request.remote_addr or "unknown"
    return accounts.log_in(site.database, site.settings, name, password[:1024], address, now=visit.now())


def leave() -> ResponseReturnValue:
    """Log out: all sessions of the account end, so a copied cookie is worth nothing from here on."""
    account = visit.visitor()
    if account is not None:
        accounts.end_sessions(visit.site().database, account.id)
    logout_user()
    session.clear()
    return redirect(url_for("login.enter"), 303)


def safe_next(wanted: str | None) -> str:
    """`wanted` if it is a path on this site, else the home page: a link must not send people elsewhere after login.

    Browsers read backslashes as slashes and drop control characters, so neither may be in it.
    """
    if wanted and wanted.startswith("/") and not wanted.startswith("//") and wanted.isprintable():
        parts = urlsplit(wanted)
        if not parts.scheme and not parts.netloc and "\\" not in wanted:
            return wanted
    return url_for("home.show")
