# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages as CGI: one process a request, `python -m app.cgi`."""

from __future__ import annotations

from wsgiref.handlers import CGIHandler

from app import create_app
from app.settings import load

if __name__ == "__main__":
    CGIHandler().run(create_app(load()))
