"""Installs our Git hooks beside existing ones, and removes them again."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .git import Git

_MARK: Final = "# written by `otel-schema hooks install`; `otel-schema hooks uninstall` restores what was here"
_BEGIN: Final = "# otel-schema hooks: these three lines are removed by `otel-schema hooks uninstall`"
_END: Final = "# otel-schema hooks: end"
_OLD: Final = "before-otel-schema"
_OTHERS: Final = ("", ".legacy", ".old")
"""What pre-commit and lefthook append to the name of a hook that they replace."""
_LEFTHOOK: Final = re.compile(r"\.?lefthook(-local)?\.(ya?ml|toml|jsonc?)")


class HookError(Exception):
    """A hook cannot be written or removed; the message names it and the fix."""


@dataclass(frozen=True)
class InstallResult:
    """The result of an installation or removal.

    Attributes:
        lines: To be read.
        active: Whether it is as it was asked for.
    """

    lines: list[str]
    active: bool = True


def install(root: Path, lock: str) -> InstallResult:
    """Write the hooks.

    Args:
        root: The project's directory.
        lock: Its lock file, relative to that.

    Raises:
        GitError: if there is no repository.
        HookError: if a hook cannot be written.
    """
    git = Git(root)
    commands = _commands(root, lock, git.top)
    lines = (
        []
        if "pre-push" in commands
        else [f"wrote no pre-push hook, because there is no {lock}. Write it: otel-schema lock"]
    )
    place = _Hooks(git)
    if place.off:
        return InstallResult(
            ["core.hooksPath is set to nothing, so Git runs no hook. Run: git config --unset core.hooksPath"],
            active=False,
        )
    if place.lefthook:
        return _lefthook(git.top, commands)
    if place.foreign:
        return InstallResult(
            [
                f"core.hooksPath is {place.directory}, which is outside of this repository: no hook was written there.",
                *(f"Add to {place.directory / name}: {command} || exit $?" for name, command in commands.items()),
            ],
            active=False,
        )
    write = _add_block if place.shared else _write_hook
    place.directory.mkdir(parents=True, exist_ok=True)
    said = [write(place.directory / name, command) for name, command in commands.items()]
    return InstallResult([*said, *lines], all(not each.startswith("not ") for each in said))


def uninstall(root: Path, lock: str) -> InstallResult:
    """Remove the hooks.

    Args:
        root: The project's directory.
        lock: Its lock file, relative to that.

    Raises:
        GitError: if there is no repository.
        HookError: if somebody edited a hook.
    """
    git = Git(root)
    place = _Hooks(git)
    done: list[str] = []
    for name in ("pre-commit", "pre-merge-commit", "pre-push"):
        for other in _OTHERS:
            done += _removed(place.directory / f"{name}{other}", name)
    if place.lefthook:
        file = _lefthook_file(git.top)
        if file is not None and "otel-schema hooks check" in file.read_text(encoding="utf-8"):
            return InstallResult([*done, f"remove the lines of otel-schema from {file.name}"], active=False)
    return InstallResult(done or ["found no hooks of otel-schema"])


def _commands(root: Path, lock: str, top: Path) -> dict[str, str]:
    """Hook → command."""
    below = root.resolve().relative_to(top.resolve()).as_posix()
    check = "otel-schema hooks check" + ("" if below == "." else f" --project {shlex.quote(below)}")
    stale = "otel-schema lock --check"
    if below != ".":
        stale = f"(cd {shlex.quote(below)} && {stale})"
    commands = {"pre-commit": check, "pre-merge-commit": check}
    return commands | ({"pre-push": stale} if (root / lock).exists() else {})


class _Hooks:
    """The directory of Git's hooks, and other tools that write there.

    Attributes:
        directory: Where a hook is written; for husky the directory that people edit.
        shared: Whether that is in the work tree, so that others get what is written.
        foreign: Whether that is outside of the repository.
        lefthook: Whether lefthook writes the hooks.
        off: Whether Git runs no hooks at all.
    """

    def __init__(self, git: Git) -> None:
        self.off = git.run("config", "--get", "core.hooksPath") == b"\n"
        directory = git.path("hooks")
        if directory.parts[-2:] == (".husky", "_"):
            directory = directory.parent
        self.directory = directory
        private = directory.is_relative_to(git.directory)
        self.shared = not private and directory.is_relative_to(git.top)
        self.foreign = not private and not self.shared
        hook = directory / "pre-commit"
        written = hook.is_file() and b"lefthook" in hook.read_bytes()
        self.lefthook = written or _lefthook_file(git.top) is not None


# -- a hook of our own


def _write_hook(hook: Path, command: str) -> str:
    """Write a hook that first runs the previous hook, then our command."""
    old = hook.with_name(f"{hook.name}.{_OLD}")
    chained, commands = "", [command]
    if hook.exists() or hook.is_symlink():
        if _ours(hook):
            chained = " again"
            others = [each for each in _commands_in(hook.read_text(encoding="utf-8")) if each != command]
            commands = [*others, command]
            chained += f", also for {', '.join(others)}" if others else ""
        elif old.exists():
            raise HookError(f"otel-schema did not write {hook}, and {old.name} exists too: move one of them away first")
        else:
            os.replace(hook, old)
    if old.exists() and not chained:
        chained = f"; the hook that was there is now {old.name}, and runs first"
    hook.write_text(_script(hook.name, commands), encoding="utf-8", newline="\n")
    _make_executable(hook)
    return f"wrote {hook}{chained}"


def _script(name: str, commands: list[str]) -> str:
    """The text of a hook. It names our program by its path: Git clients with windows have no virtual environment."""
    program = Path(os.path.abspath(sys.argv[0]))
    if program.stem != "otel-schema":
        program = Path(sys.executable).with_name("otel-schema")
    run = " || exit\n".join(commands)
    return f"""#!/bin/sh
{_MARK}
before="$(dirname -- "$0")/{name}.{_OLD}"
# pre-commit's own hook, where pre-commit itself runs this one, would run without end
if [ -n "$PRE_COMMIT_RUNNING_LEGACY" ] && grep -q hook-impl "$before" 2>/dev/null; then before=; fi
if [ -x "$before" ]; then "$before" "$@" || exit; fi
PATH={shlex.quote(program.parent.as_posix())}:$PATH
command -v otel-schema >/dev/null || {{
  echo "otel-schema is not installed: install it, or remove {name} from Git's hooks" >&2
  exit 2
}}
{run}
"""


def _commands_in(script: str) -> list[str]:
    """The commands of a hook that we wrote, one for each project of the repository."""
    lines = script.partition("\n}\n")[2].splitlines()
    return [line.removesuffix(" || exit") for line in lines]


def _ours(hook: Path) -> bool:
    return hook.is_file() and _MARK.encode() in hook.read_bytes()


def _make_executable(file: Path) -> None:
    file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


# -- three lines in a hook that is shared


def _add_block(hook: Path, command: str) -> str:
    """Add three lines at the start of a hook in the work tree; at its end they might follow an `exit`."""
    text = hook.read_bytes().decode("utf-8", "surrogateescape") if hook.exists() else "#!/bin/sh\n"
    line = f"{command} || exit $?\n"
    if _BEGIN in text:
        if line in text:
            return f"{hook} already has the lines"
        hook.write_bytes(text.replace(_END, f"{line}{_END}", 1).encode("utf-8", "surrogateescape"))
        return f"added a line to {hook}. Commit it, so that everybody has it"
    block = f"{_BEGIN}\n{line}{_END}\n"
    first, newline, rest = text.partition("\n")
    if first.startswith("#!") and not re.search(r"\b(ba|da|k|z)?sh\b", first):
        return f"not written: {hook} is not a shell script. Make it run: {command}"
    text = f"{first}{newline}{block}{rest}" if first.startswith("#!") else f"{block}{text}"
    created = not hook.exists()
    hook.write_bytes(text.encode("utf-8", "surrogateescape"))
    if created:
        _make_executable(hook)
    return f"added three lines to {hook}. Commit it, so that everybody has them"


def _without_block(text: str) -> str:
    start = text.index(_BEGIN)
    end = text.index(_END, start) + len(_END) + 1
    return text[:start] + text[end:]


# -- lefthook writes its hooks itself


def _lefthook_file(top: Path) -> Path | None:
    return next((each for each in sorted(top.iterdir()) if _LEFTHOOK.fullmatch(each.name)), None)


def _lefthook(top: Path, commands: dict[str, str]) -> InstallResult:
    file = _lefthook_file(top)
    name = file.name if file else "lefthook.yml"
    if file is not None and commands["pre-commit"] in file.read_text(encoding="utf-8"):
        return InstallResult([f"{name} already has the lines"])
    lines = [f"lefthook writes Git's hooks. Add to {name}, then run `lefthook install`:", ""]
    for hook, command in commands.items():
        lines += [f"{hook}:", "  commands:", f"    otel-schema: {{run: {command}}}", ""]
    return InstallResult(lines, active=False)


# -- and back


def _removed(hook: Path, name: str) -> Iterator[str]:
    """Remove our lines from one file."""
    if not hook.is_file():
        return
    if _ours(hook):
        if _edited(hook.read_text(encoding="utf-8").splitlines(), name):
            raise HookError(f"somebody edited {hook}: remove the added lines, then run this again")
        old = hook.with_name(f"{name}.{_OLD}")
        if old.exists() or old.is_symlink():
            os.replace(old, hook)
            yield f"restored {hook}"
        else:
            hook.unlink()
            yield f"removed {hook}"
        return
    text = hook.read_bytes().decode("utf-8", "surrogateescape")
    if _BEGIN in text and _END in text:
        rest = _without_block(text)
        if rest == "#!/bin/sh\n":
            hook.unlink()
            yield f"removed {hook}"
        else:
            hook.write_bytes(rest.encode("utf-8", "surrogateescape"))
            yield f"removed the lines of otel-schema from {hook}"


def _edited(lines: list[str], name: str) -> bool:
    """Whether somebody edited a hook that we wrote; the program's directory and the command may differ."""
    commands = _commands_in("\n".join(lines))
    known = all(re.fullmatch(r"(\(cd .* && )?otel-schema (hooks|lock) .*", each) for each in commands)
    ours = _script(name, commands).splitlines() if known else []
    return [each for each in lines if not each.startswith("PATH=")] != [
        each for each in ours if not each.startswith("PATH=")
    ]
