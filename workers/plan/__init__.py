# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What has to stand on the hosts for a reservation: pure functions from rows' data to resource rows."""
