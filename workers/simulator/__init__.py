# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A site without hosts: the real passes over simulated ones, with a clock that jumps from one event to the next."""
