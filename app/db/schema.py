# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""All tables together: whoever writes must have every table imported, as foreign keys are looked up by name."""

from __future__ import annotations

from app.db import (
    account,
    event,
    ledger,
    offer,
    pass_run,
    project,
    reservation,
    resource,
    series,
    site,
    token,
)

MODULES = (account, event, ledger, offer, pass_run, project, reservation, resource, series, site, token)
