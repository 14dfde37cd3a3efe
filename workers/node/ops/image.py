# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A golden image, built by its own configuration space in a detached job and then kept in DIR/images.

The build takes minutes: it outlives the SSH session, and later requests see how it stands. It runs in private
mount and process namespaces, so that killing it takes its mounts and all its processes with it. A failure is told
once, with the end of the log; a request after that starts anew (when, is the manager's affair).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.node import names, reports
from workers.node.protocol import Refused, Remit
from workers.node.steps import (
    Ask,
    Command,
    Detach,
    EndJob,
    FileSeen,
    GetJob,
    JobSeen,
    MakeDir,
    Remove,
    Rename,
    Stat,
    WriteFile,
)

MAX_FILES = 2000
MAX_BYTES = 16 << 20
MAX_SIZE_MIB = 1 << 20
BUILD = "build"  # the program in the space that makes the image: build OUT SIZE CLASSES
_NAMESPACES = (
    *("unshare", "--mount", "--propagation", "unchanged"),  # `build` makes it private, in a chroot too
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
_CLASS = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


@dataclass(frozen=True)
class Args:
    """`files` are (path, text, mode) of the configuration space."""

    dir: str
    image: str
    size_mib: int
    classes: tuple[str, ...]
    files: tuple[tuple[str, str, int], ...] = field(repr=False)

    @property
    def path(self) -> str:
        """Where the image is once it is whole."""
        return f"{self.dir}/images/{self.image}.raw"

    @property
    def job(self) -> str:
        """The job's directory."""
        return f"{self.dir}/jobs/{self.image}"

    @property
    def part(self) -> str:
        """What the job makes; in the images' folder, so that a rename is enough."""
        return f"{self.dir}/images/.{self.image}.part.raw"


@dataclass(frozen=True)
class Seen:
    """The image, an unfinished one, and the job that makes it."""

    image: FileSeen | None
    part: FileSeen | None
    job: JobSeen


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"image","size_mib","classes":[...],"files":{path:text},"modes":{path:"0755"}}."""
    image, size_mib, classes, files, modes = names.take(
        raw, image=str, size_mib=int, classes=list, files=dict, modes=dict
    )
    names.image(image)
    names.within(size_mib, 1, MAX_SIZE_MIB, "size_mib")
    names.within(len(classes), 1, 100, "the number of classes")
    for name in classes:
        if not isinstance(name, str) or not _CLASS.fullmatch(name):
            raise names.bad(f"a class is named in capitals, not {names.show(name)}")
    names.within(len(files), 1, MAX_FILES, "the number of files")
    for path, text in files.items():
        names.file_name(path, "a file's name")
        if not isinstance(text, str):
            raise names.bad(f"the content of {path} must be text")
    names.within(sum(map(len, files.values())), 0, MAX_BYTES, "the length of all files together")
    if BUILD not in files:
        raise names.bad(f"files has no {BUILD!r}, which makes the image")
    if set(modes) - set(files) or not set(modes.values()) <= {"0644", "0755"}:
        raise names.bad('modes must give "0644" or "0755" for names that are in files')
    space = tuple((path, text, int(modes.get(path, "0644"), 8)) for path, text in sorted(files.items()))
    return Args(remit.dir, image, size_mib, tuple(classes), space)


def lock(args: Args) -> str:
    """One image, one lock."""
    return f"image-{args.image}"


def observe(args: Args, ask: Ask) -> Seen:
    """The image by its size only: it was renamed to its name when it was whole."""
    return Seen(ask(Stat(args.path)), ask(Stat(args.part)), ask(GetJob(args.image)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Start the job; later take its result, or clear up after it and say why it failed."""
    if seen.image is not None and seen.image.kind != "file":
        raise Refused("not_ours", f"{args.path} is there and is no plain file: it was left alone")
    clear: list[Command] = [] if seen.job.state == "none" else [EndJob(args.image, args.part)]
    tidy: list[Command] = [] if seen.part is None else [Remove(args.part)]
    if want == "absent":
        return [*clear, *tidy, Remove(args.path)] if seen.image else [*clear, *tidy]
    if seen.image is not None:
        return [*clear, *tidy]
    if seen.job.state == "running":
        return []
    if seen.job.state == "ended" and seen.job.rc == 0 and seen.part is not None:
        return [Rename(args.part, args.path), *clear]
    if seen.job.state == "ended":
        raise Refused(*_failure(args, seen.job), clean_up=(*clear, *tidy))
    return [*clear, *tidy, *_start(args)]


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the job, in the words of its log's last line."""
    if want == "absent" or seen.image is not None:
        return None
    return f"building: {reports.last_words(seen.job.log) or 'just started'}"


def _start(args: Args) -> list[Command]:
    space = f"{args.job}/config"
    folders = sorted({posixpath.dirname(f"{space}/{path}") for path, _, _ in args.files})
    make = ("bash", f"{space}/{BUILD}", args.part, f"{args.size_mib}M", ",".join(args.classes))
    return [
        MakeDir(f"{args.dir}/images"),
        *map(MakeDir, folders),
        *(WriteFile(f"{space}/{path}", text, mode) for path, text, mode in args.files),
        Detach(args.image, (*_NAMESPACES, *make), (("LEASEHOLD_BASE_DIR", f"{args.dir}/images"),)),
    ]


def _failure(args: Args, job: JobSeen) -> tuple[str, str]:
    """(code, message): a full disk is told apart, because the operator can do something about it."""
    log = job.log[-1500:].strip() or "it said nothing"
    if "No space left on device" in job.log:
        return "no_space", f"the disk of {args.dir} became full while image {args.image} was built: {log}"
    how = f"ended with status {job.rc}" if job.rc else "ended well but left no image"
    return "image_failed", f"the build of image {args.image} {how}; log in {args.job}.log; its end: {log}"
