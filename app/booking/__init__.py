# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The use cases: one transaction each, the only code that writes what people ask and decide."""

from app.db import schema

__all__ = ["schema"]
