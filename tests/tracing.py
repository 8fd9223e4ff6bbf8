"""Kills a process at the very system call that a test names: a tracer for Linux, of nothing but ctypes.

The child asks the kernel to stop it at each call that can change what is on disk (a seccomp filter that says so, so that all
others run at full speed); the tracer, its parent, counts the stops of all its threads, and kills it at the one it is waiting
for, before the call is carried out. The state that is left is the one that the call before it has made.

See ptrace(2) and seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from killing import start

# The numbers of the calls that change files, by machine. Those that only old programs use are left out.
_CALLS = {
    "x86_64": {
        "write": 1, "pwrite64": 18, "writev": 20, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82,
        "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87, "symlink": 88, "openat": 257, "mkdirat": 258, "unlinkat": 263,
        "renameat": 264, "linkat": 265, "symlinkat": 266, "fallocate": 285, "renameat2": 316, "copy_file_range": 326,
    },
    "aarch64": {
        "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "truncate": 45, "ftruncate": 46,
        "fallocate": 47, "openat": 56, "write": 64, "writev": 66, "pwrite64": 68, "fsync": 82, "fdatasync": 83,
        "renameat2": 276, "copy_file_range": 285,
    },
}  # fmt: skip

_TRACEME, _CONT, _SETOPTIONS = 0, 7, 0x4200
_OPTIONS = 0x8 | 0x80 | 0x100000  # stop new threads, stop where the filter says so, and let nothing outlive the tracer
_EVENT_SECCOMP = 7
_WALL = 0x40000000  # wait for threads too

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # instructions of BPF
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_NUMBER, _FIRST_ARGUMENT, _THIRD_ARGUMENT = 0, 16, 32  # offsets in struct seccomp_data
_CREAT = 0o100


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Traced(NamedTuple):
    """How a traced child ended (`killing.KILLED`, if it was), and how many calls it had come to."""

    code: int
    calls: int


def unsupported() -> str | None:
    """Why nothing can be traced here; None if it can."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return f"there is no tracer for {sys.platform} on {platform.machine()}"
    try:
        traced = run_and_kill_at(["config", "check"], 1)
    except OSError as error:
        return f"processes cannot be traced here: {error}"
    return None if traced == (0, 0) else f"processes cannot be traced here: {traced}"


def run_and_kill_at(arguments: Sequence[str], number: int) -> Traced:
    """Run a command line in a child, and kill it at its ``number``-th call that changes a file, counted from 1; 0 for never."""
    pid = start(arguments, _be_traced)
    os.waitpid(pid, _WALL)
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    _ptrace(_CONT, pid, 0)
    calls = 0
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if not os.WIFSTOPPED(status):
            if thread == pid:
                return Traced(os.waitstatus_to_exitcode(status), calls)
            continue
        event, stopped_by = status >> 16, os.WSTOPSIG(status)
        if event == _EVENT_SECCOMP:
            calls += 1
            if calls == number:
                os.kill(pid, signal.SIGKILL)
        # A new thread begins with a SIGSTOP of the tracing; whatever else is not of the tracing is the child's to get.
        ours = event or stopped_by in (signal.SIGSTOP, signal.SIGTRAP)
        _ptrace(_CONT, thread, 0 if ours else stopped_by)


def _ptrace(request: int, pid: int, data: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long)
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, 0, data) == -1:
        error = ctypes.get_errno()
        if error != errno.ESRCH:  # it was killed meanwhile
            raise OSError(error, os.strerror(error))


def _be_traced() -> None:
    """What the child does first: it lets itself be traced, waits for the tracer, and has its calls filtered."""
    _ptrace(_TRACEME, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = _filter()
    program = _Program(len(instructions) // 8, instructions)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _filter() -> bytes:
    """Stop at the calls named, at ``openat`` only where it may create, and at ``write`` only beyond the standard streams."""

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    calls = dict(_CALLS[platform.machine()])
    allow, trace = instruction(_RETURN, _ALLOW), instruction(_RETURN, _TRACE)
    program = [instruction(_LOAD, _NUMBER)]
    program += [
        *(instruction(_EQUAL, calls.pop("openat"), 0, 4), instruction(_LOAD, _THIRD_ARGUMENT)),
        *(instruction(_BITS, _CREAT, 0, 1), trace, allow),
        *(instruction(_EQUAL, calls.pop("write"), 0, 4), instruction(_LOAD, _FIRST_ARGUMENT)),
        *(instruction(_ABOVE, 2, 0, 1), trace, allow),
    ]
    for number in calls.values():
        program += [instruction(_EQUAL, number, 0, 1), trace]
    return b"".join([*program, allow])
