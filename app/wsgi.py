# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages under waitress: `python -m app.wsgi --listen 127.0.0.1:8080`; or `app.wsgi:application()` elsewhere."""

from __future__ import annotations

import argparse
import gc
import logging
import sys

import waitress
from flask import Flask

from app import create_app
from app.domain.errors import SiteError
from app.settings import load

# Beyond the 1 MiB that the application takes, so that it can answer for itself up to here.
MOST_BODY_BYTES = 4 << 20


def application() -> Flask:
    """The application for the settings that LEASEHOLD_CONFIG names."""
    return create_app(load())


def main() -> int:
    """Serve until stopped; 1 with one sentence when the settings or the keys are wrong."""
    parser = argparse.ArgumentParser(prog="python -m app.wsgi", description="Serve the pages of Leasehold.")
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument(
        "--trusted-proxy", metavar="ADDRESS", help="believe X-Forwarded-For and -Proto of this reverse proxy"
    )
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        app = application()
    except SiteError as why:
        print(f"leasehold: {why}", file=sys.stderr)
        return 1
    proxy = {}
    if arguments.trusted_proxy:
        proxy = {
            "trusted_proxy": arguments.trusted_proxy,
            "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
            "clear_untrusted_proxy_headers": True,
        }
    # What is loaded now stays loaded. To look through all of it in the middle of a request would take 50 ms.
    gc.freeze()
    waitress.serve(
        app,
        listen=arguments.listen,
        threads=arguments.threads,
        ident=None,
        max_request_body_size=MOST_BODY_BYTES,
        **proxy,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
