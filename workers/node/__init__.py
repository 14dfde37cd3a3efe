# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The host helper: shipped to a host as a zipapp, it makes named things there present or absent.

It imports nothing of the project outside this package, and beyond the standard library pyroute2 alone.
"""
