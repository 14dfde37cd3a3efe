# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""asyncssh's side of bench/fanout.py, run in an environment of its own.

Arguments: PORT KNOWN_HOSTS KEY INPUT HOSTS AT_ONCE. Reads "fresh" or "kept" from standard input, serves all hosts
that way and prints the wall and the CPU seconds it took, as JSON.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

PORT, KNOWN, KEY, INPUT, HOSTS, AT_ONCE = sys.argv[1:] if len(sys.argv) == 7 else ("0", "", "", "", "0", "1")


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def connect() -> Any:
    return asyncssh.connect(
        "127.0.0.1",
        int(PORT),
        username="root",
        client_keys=[KEY],
        known_hosts=KNOWN,
        config=None,
        agent_path=None,
        kex_algs=["curve25519-sha256"],
    )


async def run(connection: Any) -> None:
    result = await connection.run("leasehold-helper", input=INPUT)
    assert result.exit_status == 0
    assert len(result.stdout.splitlines()) == 2


async def all_hosts(one: Callable[[int], Awaitable[None]]) -> None:
    places = asyncio.Semaphore(int(AT_ONCE))

    async def placed(index: int) -> None:
        async with places:
            await one(index)

    await asyncio.gather(*(placed(index) for index in range(int(HOSTS))))


async def main() -> None:
    processes: list[Any] = []

    async def keep(_: int) -> None:
        process = await (await connect()).create_process("leasehold-helper")
        await process.stdout.readline()
        processes.append(process)

    async def fresh(_: int) -> None:
        async with connect() as connection:
            await run(connection)

    async def kept(index: int) -> None:
        processes[index].stdin.write(INPUT)
        assert (await processes[index].stdout.readline()).startswith('{"id"')

    loop = asyncio.get_running_loop()
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if word == "kept" and not processes:
            await all_hosts(keep)
        used, started = cpu(), time.perf_counter()
        await all_hosts(fresh if word == "fresh" else kept)
        print(json.dumps([time.perf_counter() - started, cpu() - used]), flush=True)


asyncio.run(main())
