"""``storage``: the storages of packs: whether one is fit to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.parts import JSON, Column, Row
from gamearchive.units import format_count, format_size

if TYPE_CHECKING:
    from gamearchive.operations.check import Noted, Speed, Tried

app = command_group(
    "storage", help="Checks storages of packs.", exits=(3, 15), example="gamearchive storage check s3://bucket/prefix"
)

_CHECKED = (Column("check", "check"), Column("result", "result"), Column("told", "what that means"))


@command(app, exits=(3, 15), example="gamearchive storage check s3://bucket/prefix")
def check(
    context: Context,
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Which; the one of the settings, if omitted.")] = None,
) -> int:
    """Check whether a storage can do what an archive needs of it, and how fast it is.

    Each promise of a storage is tried on it, in a corner of its own that is cleared away in the end; what else lies there is
    neither read nor written. About 50 MB go there, and back.
    """
    return context.run(_check(context, url), finishes_batch=True)


async def _check(context: Context, url: str | None) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.check import Speed, Tried

    missing, sums = 0, dict[str, JSON]()
    async with Administration(context.settings, context.clock) as manager:
        where = context.settings.storage if url is None else url
        with context.output.listing(_CHECKED, identity="check") as add:
            async for step in manager.storage.check(where, stopping=context.stopping.is_set):
                if isinstance(step, Speed):
                    sums = _speed(step)
                    continue
                row = _row(step)
                add(row)
                missing += isinstance(step, Tried) and step.problem is not None and step.step.needed
    context.output.summary({"missing": missing, **sums}, _sentence(missing, sums))
    return 3 if missing else 0


def _row(step: Tried | Noted) -> Row:
    from gamearchive.operations.check import Tried

    if not isinstance(step, Tried):
        return {"check": step.subject, "result": "noted", "told": step.fact}
    if step.problem is None:
        return {"check": step.step.name, "result": "yes", "told": step.step.promise}
    told = step.problem if step.step.needed else f"{step.problem}; nothing rests on it"
    return {"check": step.step.name, "result": "no", "told": told}


def _speed(speed: Speed) -> dict[str, JSON]:
    return {
        "put_seconds": round(speed.put_seconds, 6),
        "get_seconds": round(speed.get_seconds, 6),
        "put_bytes_per_second": round(speed.put_rate),
        "get_bytes_per_second": round(speed.get_rate),
    }


def _sentence(missing: int, sums: dict[str, JSON]) -> str:
    fit = f"{format_count(missing, 'promise')} not kept: no archive is safe there" if missing else "Fit to keep an archive"
    if not sums:
        return f"Stopped. {fit} so far." if missing else "Stopped: nothing wrong so far."
    put, get = (f"{float(str(sums[key])) * 1000:.1f} ms" for key in ("put_seconds", "get_seconds"))
    up, down = (format_size(int(str(sums[key]))) for key in ("put_bytes_per_second", "get_bytes_per_second"))
    return f"{fit}. A small object is put in {put} and read in {get}; large ones at {up}/s and {down}/s."
