#!/bin/sh
# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
# The pages of Leasehold as CGI: one process a request.
cd /opt/leasehold && exec .venv/bin/python -m app.cgi
