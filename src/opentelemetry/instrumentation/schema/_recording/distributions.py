"""Which distribution a file belongs to: `importlib.metadata` in reverse, and quickly.

Reading the file lists of 400 distributions would delay an app's start too much. In a folder named `site-packages` or
`dist-packages` every file is third-party, whichever distribution lists it. So at first we only read the folder's
names, and the file lists when it matters which distribution it is (`read_all`). In any other folder of `sys.path`
(`pip install --target`, a Lambda layer, a zipapp) the application's own files may lie beside distributions, so we read
their file lists at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Iterable
from functools import cached_property

from .. import faults

_NAMED = ("site-packages", "dist-packages")
_MODULES = (".py", ".so", ".pyd", ".pyc")
_REQUIRES = re.compile(r"^Requires-Dist:\s*([A-Za-z0-9._-]+)(.*)$", re.MULTILINE)


def normalised(name: str) -> str:
    """A distribution's name as all of its spellings compare: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Distribution:
    """One installed distribution.

    Attributes:
        name: Its normalised name.
    """

    folder: Folder
    name: str

    def __init__(self, folder: Folder, info: str) -> None:
        self.folder, self._info = folder, info
        self.name = normalised(info.rpartition(".")[0].partition("-")[0])

    @cached_property
    def places(self) -> frozenset[str]:
        """Its packages, and its modules outside of packages, as paths below its folder."""
        if not self._info.endswith(".dist-info"):
            return frozenset()  # an egg's list is of its sources, in a checkout too
        listed = [line.partition(",")[0] for line in self._read("RECORD").decode(errors="replace").split("\n")]
        packages = {path.rpartition("/")[0] for path in listed if "/__init__." in path}
        modules = {path for path in listed if path.endswith(_MODULES) and path.rpartition("/")[0] not in packages}
        return frozenset(each for each in packages | modules if "__pycache__" not in each)

    @cached_property
    def requires(self) -> dict[str, bool]:
        """The normalised name of each distribution that it requires → whether also without an extra."""
        text = self._read("METADATA" if self._info.endswith(".dist-info") else "PKG-INFO").decode(errors="replace")
        found: dict[str, bool] = {}
        for name, condition in _REQUIRES.findall(text.replace("\r", "").partition("\n\n")[0]):
            found[normalised(name)] = found.get(normalised(name), False) or "extra" not in condition
        return found

    @cached_property
    def from_sources(self) -> bool:
        """Whether PEP 610 says that a folder or a repository is its source. An archive may be anybody's."""
        try:
            told = json.loads(self._read("direct_url.json") or b"{}")
        except ValueError:
            return False
        return "dir_info" in told or "vcs_info" in told

    @cached_property
    def scripts(self) -> frozenset[str]:
        """The names of its console scripts."""
        section = self._read("entry_points.txt").decode(errors="replace").partition("[console_scripts]")[2]
        return frozenset(
            line.partition("=")[0].strip() for line in section.partition("[")[0].split("\n") if "=" in line
        )

    @property
    def packages(self) -> list[str]:
        """The dotted names of its outermost packages and modules."""
        outermost = {each for each in self.places if each.rpartition("/")[0] not in self.places}
        return sorted({re.sub(r"\.(py|pyc|so|pyd|[^/]*\.so)$", "", each).replace("/", ".") for each in outermost})

    def _read(self, name: str) -> bytes:
        return self.folder.read(f"{self._info}/{name}")


class Folder:
    """One entry of `sys.path`, which may be a zip file.

    Attributes:
        third_party: Whether all in it is third-party, whoever lists it.
        distributions: Those whose metadata lies in it.
    """

    path: str
    third_party: bool
    distributions: list[Distribution]

    def __init__(self, path: str) -> None:
        self.path, self.third_party = path, os.path.basename(path) in _NAMED
        self._zip: zipfile.ZipFile | None = None
        try:
            names: Iterable[str] = os.listdir(path)
        except NotADirectoryError:
            self._zip = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
            names = {name.partition("/")[0] for name in self._zip.namelist()} if self._zip else ()
        except OSError:
            names = ()
        self.distributions = [
            Distribution(self, name) for name in names if name.endswith((".dist-info", ".egg-info")) and name[0] != "~"
        ]

    @cached_property
    def listed(self) -> dict[str, Distribution]:
        """Packages, and modules outside of them, as paths below this folder → who lists them."""
        return {place: each for each in self.distributions for place in each.places}

    def read(self, name: str) -> bytes:
        """A file's content; empty where there is none."""
        try:
            if self._zip is not None:
                return self._zip.read(name)
            with open(os.path.join(self.path, name), "rb", buffering=0) as file:
                return file.readall()
        except (OSError, KeyError, zipfile.BadZipFile):
            return b""


class Distributions:
    """What is installed in the folders of `sys.path`, as that grows.

    Attributes:
        from_sources: Those that PEP 610 says to be installed from a folder or a repository.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Folder] = {}
        self._path: list[str] = []
        self.from_sources: frozenset[Distribution] = frozenset()
        self.look()

    @faults.guarded("ownership", None)
    def look(self) -> None:
        """Look at the folders that `sys.path` holds by now."""
        if self._path == sys.path:
            return
        self._path = list(sys.path)
        for path in self._path:
            path = os.path.abspath(path)
            if path not in self._folders:
                folder = self._folders[path] = Folder(path)
                self._folders.setdefault(os.path.realpath(path), folder)
                self.from_sources |= frozenset(each for each in folder.distributions if each.from_sources)
                if not folder.third_party:
                    _ = folder.listed

    def read_all(self) -> None:
        """Read the file list of every distribution: one of them makes the application."""
        self.look()
        for folder in self._folders.values():
            _ = folder.listed

    def third_party(self, file: str) -> bool:
        """Whether a distribution lists this file, or everything in its folder is third-party."""
        return any(folder.third_party or _lists(folder.listed, place) for folder, place in self._places(file))

    def among(self, file: str, some: Iterable[Distribution]) -> bool:
        """Whether one of some distributions lists this file."""
        places = list(self._places(file))
        return any(each.folder is folder and _lists(each.places, place) for each in some for folder, place in places)

    def of(self, file: str) -> Distribution | None:
        """The distribution that lists this file; reads the list of all in its folder."""
        for folder, place in self._places(file):
            found = folder.listed.get(place) or folder.listed.get(place.rpartition("/")[0])
            if found is not None:
                return found
        return None

    def of_script(self, name: str) -> Distribution | None:
        """The distribution that has a console script of this name."""
        every = [each for folder in self._folders.values() for each in folder.distributions]
        every.sort(key=lambda each: each.name != normalised(name))  # most often it has the distribution's own name
        return next((each for each in every if name in each.scripts), None)

    def required_by(self, some: Iterable[Distribution]) -> frozenset[str]:
        """The normalised names of all that some distributions require, directly (with any extra) or not."""
        named = {each.name: each for folder in self._folders.values() for each in folder.distributions}
        found = {name for each in some for name in each.requires}
        pending = list(found)
        while pending:
            each = named.get(pending.pop())
            new = {name for name, always in each.requires.items() if always} - found if each is not None else set[str]()
            found |= new
            pending += new
        return frozenset(found)

    def _places(self, file: str) -> Iterable[tuple[Folder, str]]:
        """The folders that a file lies below, innermost first, and its path below each."""
        self.look()
        folder = file
        while os.path.isabs(file):  # code that was typed in has no file
            outer = os.path.dirname(folder)
            if outer == folder:
                return
            folder = outer
            known = self._folders.get(folder)
            if known is None and os.path.basename(folder) in _NAMED:
                known = self._folders[folder] = Folder(folder)  # not on `sys.path`, or no longer
            if known is not None:
                yield known, file[len(folder) :].strip(os.sep).replace(os.sep, "/")


def _lists(listed: Iterable[str], place: str) -> bool:
    return place in listed or place.rpartition("/")[0] in listed


def file_of(module: str) -> str | None:
    """The file of a module, or of its innermost package that has one; None for code that was typed in."""
    while module:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None:
            return file
        module = module.rpartition(".")[0]
    return None
