"""Renders one step of Alembic as SQL without a database, and records its operations."""

from __future__ import annotations

import ast
import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic.operations import Operations, ops
from alembic.operations.batch import BatchOperationsImpl
from alembic.runtime.environment import EnvironmentContext

from ..classify import FunctionSource, MigrationFunction, is_project_module, read_source
from ..operations import MigrationScript
from ..plan import Loss
from ..sql_text import Effects, read_effects

_OPTIONS: Final = ("target_metadata", "render_as_batch", "version_table", "version_table_schema")


class Renderer:
    """Renders steps for one database.

    Args:
        config: Alembic's.
        script: Its directory.
        dialect: Name of the dialect.
        options: Those that env.py configured.
    """

    def __init__(self, config: Any, script: Any, dialect: str, options: dict[str, Any]) -> None:
        self._config, self._script, self._dialect = config, script, dialect
        self._options = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
        self._version_table = str(options.get("version_table") or "alembic_version")

    def functions(self, revision: Any) -> tuple[MigrationFunction, str | None, MigrationFunction, str | None]:
        """Both functions of a revision, each with its SQL; None if the SQL is known only when it runs."""
        try:
            script = MigrationScript(ast.parse(Path(revision.path).read_bytes()))
        except (OSError, SyntaxError, ValueError):
            unread = FunctionSource(unknown=["cannot be read"])
            return MigrationFunction(unread), None, MigrationFunction(unread), None
        up, up_sql = self._function(revision, script, "upgrade")
        down, down_sql = self._function(revision, script, "downgrade")
        return up, up_sql, down, down_sql

    def _function(self, revision: Any, script: MigrationScript, name: str) -> tuple[MigrationFunction, str | None]:
        said = read_source(script, name, is_project_module)
        if said.missing or said.raises:
            return MigrationFunction(said), ""
        if said.unknown:
            return MigrationFunction(said), None
        if said.empty:
            return MigrationFunction(said, Effects()), ""
        try:
            sql, heard = self._render(getattr(revision.module, name))
        except NotImplementedError:
            said.raises = True
            return MigrationFunction(said), ""
        except Exception as error:  # the code needs a database
            said.unknown.append(f"cannot be rendered without a database ({type(error).__name__})")
            return MigrationFunction(said), None
        return MigrationFunction(said, heard), sql

    def _render(self, function: Any) -> tuple[str, Effects]:
        out = io.StringIO()
        found = Effects()
        environment = EnvironmentContext(self._config, self._script, as_sql=True, fn=_nothing, destination_rev="head")
        with environment:
            environment.configure(dialect_name=self._dialect, output_buffer=out, literal_binds=True, **self._options)
            context = environment.get_context()
            with Operations.context(context), _intercept_operations(found, out):
                function()
        sql = out.getvalue().strip()
        said = read_effects(sql, self._dialect, self._version_table)
        if said.losses and found.losses:  # SQLite's copies of tables drop the old one
            said.losses = [loss for loss in said.losses if loss.action not in ("drop table", "convert")]
        found.add(said)
        return sql, found


def _nothing(_revision: Any, _context: Any) -> list[Any]:
    return []


@contextmanager
def _intercept_operations(found: Effects, out: io.StringIO) -> Generator[None]:
    """Record operations before they become SQL: batch mode on SQLite needs the real table to make SQL."""
    base: Any = next(each for each in Operations.__mro__ if "invoke" in vars(each))
    invoke, flush = base.invoke, BatchOperationsImpl.flush

    def listen(self: Any, operation: Any) -> Any:
        _add_losses(operation, found)
        found.statements += 1
        return invoke(self, operation)

    def describe(self: Any) -> None:
        if not self._should_recreate() or self.copy_from is not None:
            flush(self)
            return
        out.write(f"-- copies table {self.table_name} with these changes (batch mode):\n")
        for name, arguments, _ in self.batch:
            shown = ", ".join(getattr(each, "name", None) or str(each) for each in arguments[1:3])
            out.write(f"--   {name} {shown}\n")

    base.invoke, BatchOperationsImpl.flush = listen, describe
    try:
        yield
    finally:
        base.invoke, BatchOperationsImpl.flush = invoke, flush


def _add_losses(operation: Any, found: Effects) -> None:
    if isinstance(operation, ops.DropTableOp):
        found.losses.append(Loss("drop table", operation.table_name, None, operation.schema))
    elif isinstance(operation, ops.DropColumnOp):
        found.losses.append(Loss("drop column", operation.table_name, operation.column_name, operation.schema))
    elif isinstance(operation, ops.AlterColumnOp) and operation.modify_type is not None:
        type_: Any = operation.modify_type
        found.losses.append(
            Loss("convert", operation.table_name, operation.column_name, operation.schema, _type_text(type_))
        )


def _type_text(type_: Any) -> str:
    instance = type_() if isinstance(type_, type) else type_
    try:
        return str(instance.compile())
    except Exception:  # a type that only its own dialect compiles
        return str(type(instance).__name__).upper()
