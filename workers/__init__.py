# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The passes that cron starts, what they plan, and the helper they speak to on each host."""
