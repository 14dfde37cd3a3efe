# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation; built by ``make docs``, where a warning is an error."""

project = "Leasehold"
author = "The Leasehold contributors"
project_copyright = "2026 The Leasehold contributors"

extensions: list[str] = []
exclude_patterns = ["_build", "adr/template.rst"]
html_theme = "furo"
html_title = "Leasehold"
nitpicky = True
