"""Where a store's file is, and what lies beside it.

The file is never opened here once it exists: closing any descriptor of it would drop the locks that SQLite holds on it in this process.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from ...core.errors import config_error

FILE_NAME = "turnwise.db"
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
LONGEST_FOLDER = 120
"""Characters of a folder's name; file systems take 255 bytes."""


def place_of(path: str | os.PathLike[str] | None) -> Path:
    """The file that is meant: `path`, or the default one. Does not touch the disk."""
    if path is None:
        return default_home() / FILE_NAME
    text = os.fspath(path)
    if not text or text == ":memory:" or "\0" in text:
        raise config_error(
            "invalid_value",
            f"SqliteStore({text!r}): that is not the path of a file.",
            "Give a path, or use MemoryStore for what need not last.",
        )
    return Path(text).expanduser().absolute()


def default_home() -> Path:
    """The folder named by `TURNWISE_HOME`, or the user's data folder as the system has it."""
    home = os.environ.get("TURNWISE_HOME")
    if home:
        return Path(home).expanduser().absolute()
    from platformdirs import user_data_dir

    return Path(user_data_dir("turnwise", appauthor=False))


def make_file(path: Path) -> None:
    """An empty file that only its owner may read, in a folder that is made if there is none. Leaves alone what is there."""
    make_folder(path.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def make_folder(path: Path) -> None:
    """A folder that only its owner may enter. Leaves alone what is there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def address_of(path: Path, mode: str) -> str:
    """The file as SQLite takes it; it is never made by opening it."""
    return f"file:{quote(str(path))}?mode={mode}"


def blobs_folder(path: Path) -> Path:
    """The folder of the blobs that belong to a file."""
    return path.with_name(f"{path.name}-blobs")


def folder_name(tenant: str) -> str:
    """A tenant's name as that of a folder: another one for every tenant, on file systems that do not tell upper from lower case, too."""
    name = "".join(
        [c if c in PLAIN else "".join([f"%{b:02x}" for b in c.encode("utf-8", "surrogatepass")]) for c in tenant]
    )
    if len(name) > LONGEST_FOLDER:
        from hashlib import sha256

        return f"={sha256(tenant.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"t-{name}"


def tenant_of(folder: str) -> str | None:
    """The tenant whose folder has this name; None for one that had to be shortened, or that is none of ours."""
    if not folder.startswith("t-"):
        return None
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(folder[2:]).decode("utf-8", "surrogatepass")
