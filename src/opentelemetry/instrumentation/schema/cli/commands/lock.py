"""`otel-schema lock`: the schemas, tables and migration heads of an application as one reviewable file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import click

from ..._schemas import lockfile
from ..._schemas.lockfile import Lock, LockError
from ..._schemas.staleness import find_stale
from .. import importing, project
from ..output import FINDING, UsageError, echo, finish

_SHOWN = 40
"""Lines of a difference that are printed."""
_ABSENT = "{} does not exist. Write it: otel-schema lock"


@click.command()
@click.argument("modules", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the lock is stale.")
@click.option("--no-import", is_flag=True, help="With --check: compare the source text of classes; import nothing.")
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The directory that contains the modules.",
)
@click.option("--lock", "lock_file", metavar="FILE", help="The lock file.  [default: schema.lock]")
def lock(modules: tuple[str, ...], check: bool, no_import: bool, app_dir: Path, lock_file: str | None) -> None:
    """Write schema.lock: the fields of every schema and table, and the heads of the migrations.

    Imports MODULES and writes every schema that their packages define. `package.*` imports all modules of a package.
    Without MODULES, lock takes those in pyproject.toml ([tool.otel-schema] modules), else those of the existing lock.

    Exits with 1 if --check finds that the lock is stale, and with 2 if it cannot import a module.
    """
    settings = project.load(Path.cwd(), modules)
    path = settings.root / (lock_file or settings.lock)
    old = read(path) if path.exists() else None
    if no_import:
        if not check:
            raise UsageError("--no-import works only with --check: to write the file, lock must import the modules")
        _report_stale(path, old)
        return
    if not settings.modules and old is not None:
        settings = project.load(Path.cwd(), old.modules)
    new, unread = importing.read_lock(settings, app_dir.resolve())
    for ref, reason in unread.items():
        echo(f"warning: {ref} is left out, because it cannot be read: {reason}", err=True)
    text = lockfile.dumps(new)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if check:
        if before is None:
            raise UsageError(_ABSENT.format(path.name))
        if before == text:
            echo(f"{path.name} is up to date: {_counts(new)}")
            return
        for line in _difference(before, text):
            echo(line)
        echo(f"{path.name} is stale. Write it again, and commit it: otel-schema lock")
        finish(FINDING)
    if before != text:
        path.write_text(text, encoding="utf-8")
    echo(f"{path.name}: {_counts(new)}{'' if before != text else ', unchanged'}")


def read(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        UsageError: if it is not there or damaged.
    """
    try:
        return lockfile.loads(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}. Write it: otel-schema lock") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path.name} is not a lock file: it is not text in UTF-8. Write it: otel-schema lock"
        ) from error
    except LockError as error:
        raise UsageError(str(error)) from error


def content_below(root: Path) -> Callable[[str], bytes | None]:
    """Give the content of a file below a directory; None where there is no such file."""

    def content(name: str) -> bytes | None:
        file = root / name
        return file.read_bytes() if file.is_file() else None

    return content


def _report_stale(path: Path, old: Lock | None) -> None:
    if old is None:
        raise UsageError(_ABSENT.format(path.name))
    found = find_stale(old, content_below(path.parent))
    for each in found:
        echo(f"{each.file}: {each.ref} {each.why}")
    if found:
        echo(f"{path.name} is stale. Write it again, and commit it: otel-schema lock")
        finish(FINDING)
    echo(f"{path.name} matches the source text of {_number(len(old.origins), 'schema or table', 'schemas and tables')}")


def _difference(before: str, text: str) -> list[str]:
    lines = list(difflib.unified_diff(before.splitlines(), text.splitlines(), "locked", "code", lineterm="", n=1))
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"… and {_number(more, 'more line')}"] if more > 0 else lines


def _counts(found: Lock) -> str:
    tables = sum(each.library == "sqlalchemy" for each in found.schemas.values())
    heads = sum(len(each) for each in found.heads.values())
    numbers = {"schema": len(found.schemas) - tables, "table": tables, "migration head": heads}
    return ", ".join(_number(number, name) for name, number in numbers.items())


def _number(number: int, name: str, several: str = "") -> str:
    return f"{number} {name}" if number == 1 else f"{number} {several or name + 's'}"
