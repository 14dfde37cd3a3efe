# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a reservation is and what may happen to it: pure rules, standard library only."""
