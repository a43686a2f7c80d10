"""The files of the log. Everything here blocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec


class Clock(Protocol):
    def wall(self) -> float: ...


class Log:
    """A file for each day, a JSON object in each line."""

    def __init__(self, folder: str, clock: Clock) -> None:
        self.folder = Path(folder).expanduser()
        self._clock = clock

    def prepare(self) -> None:
        """Make the folder, and see that it can be written. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file(self._today()).touch()

    def write(self, line: Mapping[str, Any]) -> None:
        now = datetime.fromtimestamp(self._clock.wall())
        with self._file(now.date()).open("ab") as file:
            file.write(msgspec.json.encode({"at": now.strftime("%H:%M:%S"), **line}) + b"\n")

    def read(self, day: date, most: int) -> list[str]:
        """The last lines of a day; none if there is no file."""
        try:
            return self._file(day).read_text("utf-8").splitlines()[-most:]
        except FileNotFoundError:
            return []

    def date_of(self, day: str) -> date | None:
        match day.strip().lower():
            case "" | "today":
                return self._today()
            case "yesterday":
                return self._today() - timedelta(days=1)
            case said:
                try:
                    return date.fromisoformat(said)
                except ValueError:
                    return None

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.wall()).date()

    def _file(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}.jsonl"
