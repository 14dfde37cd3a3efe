# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is sound, and what it says is what the API does: examples by Schemathesis, on SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import openapi_spec_validator
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.document import document
from app.api.operations import OPERATIONS
from app.booking import token
from tests.browse import Visitor
from tests.factories import book_now
from tests.web.conftest import Site

EXAMPLES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_the_document_is_openapi_and_is_served(sqlite_site: Site):
    served = Visitor(sqlite_site.base).get("/openapi.json").json()
    openapi_spec_validator.validate(served)
    assert served == document()
    paths = {(method.upper(), path) for path, ways in served["paths"].items() for method in ways}
    assert len(paths) == len(OPERATIONS)


def test_the_page_lists_every_operation(sqlite_site: Site):
    page = Visitor(sqlite_site.base).get("/api/docs")
    assert page.status_code == 200
    assert all(f'id="{operation.endpoint}"' in page.text for operation in OPERATIONS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("endpoint", [operation.endpoint for operation in OPERATIONS])
def test_whatever_is_sent_is_answered_as_documented(sqlite_site: Site, endpoint: str):
    book_now(sqlite_site.database, sqlite_site.accounts["carla"])
    secret = token.make(sqlite_site.database, sqlite_site.accounts["carla"], "fuzz", 1, now=datetime.now(UTC))
    schema = schemathesis.openapi.from_wsgi("/openapi.json", sqlite_site.app)
    operation = schema.find_operation_by_id(endpoint)
    answered: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        headers = {"Authorization": f"Bearer {secret}"}
        response = case.call_and_validate(
            headers=headers,
            checks=CHECKS,
        )
        answered.add(response.status_code)

    send()
    assert answered
