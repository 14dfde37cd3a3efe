# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any

from app.api import answers
from app.api.fields import schema_of
from app.api.operations import OPERATIONS, Operation
from app.api.problem import KINDS

PROBLEM = {"application/problem+json": {"schema": answers.ref("Problem")}}
ETAG = {"ETag": {"description": "The version, for If-Match.", "schema": {"type": "string"}}}
ID = {"type": "integer", "minimum": 0, "maximum": 2147483647}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of what was seen.",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text that names this request: sent again, it is made once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


@cache
def document() -> dict[str, Any]:
    """The document, in OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leasehold",
            "version": version("leasehold"),
            "summary": "Books whole virtual clusters by the time slot.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": answers.SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, see /account."}
            },
        },
    }


def refusals(operation: Operation) -> list[int]:
    """The statuses of the problems that this operation may answer."""
    found = {400, 401, 403, 422, 429, 500, 503, *operation.refusals}
    if operation.body is not None:
        found |= {413, 415}
    if "{" in operation.path:
        found.add(404)
    if operation.is_versioned:
        found |= {409, 412, 428}
    return sorted(found)


def _operation(operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", operation.path):
        parameters.append({"name": name, "in": "path", "required": True, "schema": ID})
    if operation.is_versioned:
        parameters.append(IF_MATCH)
    if operation.has_key:
        parameters.append(IDEMPOTENCY_KEY)
    for name, field in (operation.query or {}).items():
        form: dict[str, Any] = {"schema": field.schema}
        if field.is_json:
            form = {"content": {"application/json": form}}
        parameters.append({"name": name, "in": "query", "required": field.is_required, **form})
    made: dict[str, Any] = {
        "operationId": operation.endpoint,
        "summary": operation.summary,
        "description": " ".join((operation.view.__doc__ or "").split()),
        "parameters": parameters,
        "responses": {
            str(operation.status): _answer(operation),
            **{
                str(status): {"description": KINDS[status][1], "content": PROBLEM}
                for status in refusals(operation)
            },
        },
    }
    if operation.body is not None:
        schema = schema_of(operation.body)
        made["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    return made


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "Done."}
    answer: dict[str, Any] = {
        "description": operation.summary,
        "content": {"application/json": {"schema": answers.ref(operation.answer)}},
    }
    return answer | ({"headers": ETAG} if operation.answer in ("Summary", "Reservation") else {})
