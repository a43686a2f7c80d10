"""`Tools`: many tools under their names, to be looked through and chosen from. Whatever takes tools takes it: it is iterated.

Nothing here runs a tool, and nothing decides what is allowed: a permission class is data. Where tools come from that are no Python
functions is in `openapi` and `scripts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Self, Union, cast, get_args

from ..core.errors import config_error
from .cap import DEFAULT_RESULT_CHARS
from .options import Permission
from .tool import Tool, tool

if TYPE_CHECKING:
    from .openapi import Auth, Spec

AnyTool = Tool[..., Any]
Given = Union[AnyTool, Callable[..., Any], "Iterable[Given]"]
"""A tool, a function, or any number of these."""

_BUILTIN = {"ask_user": "questions", "read_artifact": "artifacts"}
"""The built-in tools, and where they live."""


class Tools:
    """Tools by name, in the order in which they were added.

    `Tools(search, send_mail)`, `Tools([search, send_mail])`, `Tools(Tools.builtin(), search)`: functions become tools. Two of one name are
    an error (`duplicate_tool`), unless `replace=True`: then the later one takes the place of the earlier. `left_out` is what could not
    become a tool where not all of a source has to (`from_openapi`), with the reason.
    """

    __slots__ = ("_by_category", "_by_name", "left_out")

    def __init__(self, *given: Given, replace: bool = False) -> None:
        self._by_name: dict[str, AnyTool] = {}
        self._by_category: dict[str, dict[str, AnyTool]] = {}
        self.left_out: Mapping[str, str] = {}
        self.add(*given, replace=replace)

    # --- where tools come from ----------------------------------------------------------------------------------------

    @classmethod
    def builtin(cls, *names: str) -> Tools:
        """Tools that come with Turnwise, by name; all of them if none is named. Raises `ConfigError` (`unknown_tool`)."""
        unknown = [name for name in names if name not in _BUILTIN]
        if unknown:
            raise _unknown(unknown, _BUILTIN, "built-in tool")
        return cls([getattr(import_module(f".{_BUILTIN[n]}", __package__), n) for n in names or _BUILTIN])

    @classmethod
    def from_openapi(
        cls,
        spec: Spec,
        *,
        only: Iterable[str] | None = None,
        auth: Auth = None,
        base_url: str | None = None,
        prefix: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = 30.0,
        max_result_chars: int | None = DEFAULT_RESULT_CHARS,
        retries: int = 0,
    ) -> Tools:
        """A tool for each operation of an OpenAPI document (3.0 or 3.1). Nothing is requested before a tool is called.

        `spec` is the document as a dict, as JSON or YAML text, or a path to it. `only` are operations by their id, by `GET /pets/{id}`,
        or by a pattern (`pets_*`). `auth` is a key or token for what the document asks for, `Bearer`, `ApiKey`, `Basic`, a function of the
        request that gives headers, or a mapping from the document's names of schemes to these. `base_url` is instead of the
        document's servers, `prefix` goes before all names, `headers` go with all requests. `retries` are of operations that only read (`GET`).

        Operations that cannot become a tool are in `left_out`; if one is named in `only`, that is an error. Raises `ConfigError`
        (`bad_openapi`, `unknown_tool`) with all that is wrong.
        """
        from .openapi import Options, tools_of

        options = Options(auth, base_url, prefix, dict(headers or {}), timeout_s, max_result_chars, retries)
        made = cls()
        found, left_out = tools_of(spec, None if only is None else _listed(only), options)
        made.add(found)
        made.left_out = left_out
        return made

    @classmethod
    def from_scripts(
        cls,
        where: str | PathLike[str] | Iterable[str | PathLike[str]],
        *,
        timeout_s: float | None = 60.0,
        describe_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
    ) -> Tools:
        """A tool for each executable file in a folder, or for each of these files, which describe themselves: `script --schema` prints a JSON
        object with `name`, `description` and `parameters` (a JSON Schema), and may say `category`, `tags`, `permission`, `read_only`,
        `idempotent` and `timeout_s`. A call runs the script with the arguments as JSON on its standard input, at most
        `timeout_s`; what it prints is the result, and if its exit code is not 0 the call has failed.

        The scripts are run here and now, to be asked, side by side, at most `describe_s` each; the caller waits for that. Raises `ConfigError`
        (`bad_script`) with all that is wrong with any of them.
        """
        from .scripts import tools_of

        return cls(tools_of(where, timeout_s=timeout_s, describe_s=describe_s, env=env, cwd=cwd))

    # --- what there is ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[AnyTool]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, which: object) -> bool:
        if isinstance(which, Tool):
            named = cast("AnyTool", which)
            return self._by_name.get(named.name) is named
        return which in self._by_name

    def __getitem__(self, name: str) -> AnyTool:
        """Raises `ConfigError` (`unknown_tool`)."""
        if name not in self._by_name:
            raise _unknown([name], self._by_name, "tool")
        return self._by_name[name]

    def __repr__(self) -> str:
        return f"Tools({', '.join(self._by_name)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the tools."""
        return tuple(self._by_name)

    def by_category(self) -> dict[str, tuple[AnyTool, ...]]:
        """The tools of each category, categories by name; those without one are under `""`."""
        return {name: tuple(tools.values()) for name, tools in sorted(self._by_category.items())}

    def search(self, text: str, *, limit: int | None = None) -> list[AnyTool]:
        """The tools that have some of the words in their name, category, tags or description, best first; all of them for no words.

        A word counts by where it stands: most in the name, least in the description; words that begin so count, too. Equals are in the
        order of the tools.
        """
        words = _words(text)
        scored = [(_score(one, words), one) for one in self]
        found = [one for score, one in sorted(scored, key=lambda s: -s[0]) if score or not words]
        return found[:limit]

    # --- adding and choosing ------------------------------------------------------------------------------------------

    def add(self, *given: Given, replace: bool = False) -> Self:
        """Add tools, all or none of them. Raises `ConfigError` (`duplicate_tool`; `bad_tool` for functions that cannot be one)."""
        added = dict[str, AnyTool]()
        for one in _each(given):
            known = added.get(one.name) or self._by_name.get(one.name)
            if known is not None and known is not one and not replace:
                raise config_error(
                    "duplicate_tool",
                    f"Two tools are named {one.name!r}.",
                    "Give one another name, @tool(name=…), or say replace=True to have the later one.",
                )
            added[one.name] = one
        for one in added.values():
            self._drop(self._by_name.get(one.name))
            self._by_name[one.name] = one
            self._by_category.setdefault(one.category, {})[one.name] = one
        return self

    def remove(self, name: str) -> AnyTool:
        """Take one out; the tool. Raises `ConfigError` (`unknown_tool`)."""
        one = self[name]
        self._drop(one)
        return self._by_name.pop(name)

    def only(
        self,
        *names: str,
        category: str | Iterable[str] | None = None,
        tag: str | Iterable[str] | None = None,
        permission: Permission | Iterable[Permission] | None = None,
    ) -> Tools:
        """A view with those tools that fit everything given: one of the names or patterns (`"mail_*"`), one of the categories, one of the
        tags, one of the permission classes. Nothing given leaves nothing. It has the very same tools; what is added to either later is
        not in the other. Raises `ConfigError`: `unknown_tool` for a name (not a pattern) that there is not, `invalid_value` for no such permission class."""
        wanted = self._wanted(names, category, tag, permission)
        return Tools([one for one in self if (fits := wanted.fitting(one)) and all(fits)])

    def without(
        self,
        *names: str,
        category: str | Iterable[str] | None = None,
        tag: str | Iterable[str] | None = None,
        permission: Permission | Iterable[Permission] | None = None,
    ) -> Tools:
        """A view without those tools that fit anything given; see `only`. A tool that does not say what it may do has no permission class,
        so `without(permission="write")` leaves it in: `only(permission="read")` does not."""
        wanted = self._wanted(names, category, tag, permission)
        return Tools([one for one in self if not any(wanted.fitting(one))])

    def _wanted(self, names: Sequence[str], category: Any, tag: Any, permission: Any) -> _Wanted:
        unknown = [name for name in names if not _is_pattern(name) and name not in self._by_name]
        if unknown:
            raise _unknown(unknown, self._by_name, "tool")
        permissions = None if permission is None else _listed(permission)
        for one in permissions or ():
            if one not in get_args(Permission):
                raise config_error(
                    "invalid_value",
                    f"permission={one!r}: there is no such class.",
                    f"It is {', '.join(get_args(Permission))}.",
                )
        categories, tags = (None if each is None else _listed(each) for each in (category, tag))
        return _Wanted(names, categories, tags, permissions)

    def _drop(self, one: AnyTool | None) -> None:
        """Out of the index; its place among the names stays."""
        if one is None:
            return
        of_category = self._by_category[one.category]
        del of_category[one.name]
        if not of_category:
            del self._by_category[one.category]


class _Wanted(NamedTuple):
    """What a view is made by; None: not asked for."""

    names: Sequence[str]
    categories: tuple[str, ...] | None
    tags: tuple[str, ...] | None
    permissions: tuple[str, ...] | None

    def fitting(self, one: AnyTool) -> list[bool]:
        """For each kind of thing that was asked for, whether the tool has it."""
        said = [any(fitting(pattern, one.name) for pattern in self.names)] if self.names else []
        if self.categories is not None:
            said.append(one.category in self.categories)
        if self.tags is not None:
            said.append(not set(one.tags).isdisjoint(self.tags))
        if self.permissions is not None:
            said.append(one.permission in self.permissions)
        return said


def fitting(pattern: str, name: str) -> bool:
    """Whether a name is that one, or fits the pattern."""
    return pattern == name or (_is_pattern(pattern) and fnmatchcase(name, pattern))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return f"There is: {shown}." if names else "There is none."


def _unknown(names: Sequence[str], known: Iterable[str], what: str) -> Exception:
    said = ", ".join(map(repr, names))
    return config_error("unknown_tool", f"There is no {what} {said}.", nearest(names[0], known))


def _is_pattern(name: str) -> bool:
    return any(c in name for c in "*?[")


def _listed(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _each(given: Iterable[Any]) -> Iterator[AnyTool]:
    for one in given:
        if isinstance(one, Tool):
            yield cast("AnyTool", one)
        elif callable(one):
            yield tool(one)
        elif isinstance(one, Iterable) and not isinstance(one, str | bytes | Mapping):
            yield from _each(cast("Iterable[Any]", one))
        else:
            raise config_error(
                "bad_tool",
                f"{one!r} is no tool.",
                "Give a function, a Tool, or a list of these; built-in ones by Tools.builtin(…).",
            )


# --- searching ----------------------------------------------------------------------------------------------------------

_IN_NAME, _IN_TAG, _IN_TEXT = 8, 4, 1


def _score(one: AnyTool, words: Sequence[str]) -> int:
    places = (
        (_IN_NAME, _words(one.name)),
        (_IN_TAG, _words(" ".join((one.category, *one.tags)))),
        (_IN_TEXT, _words(one.spec.description)),
    )
    return sum(
        max([weight for weight, there in places if any(t.startswith(word) for t in there)], default=0) for word in words
    )


def _words(text: str) -> list[str]:
    """Words in lower case; names fall into theirs (`send_mail`, `sendMail`)."""
    out: list[str] = []
    word = ""
    for before, c in zip(" " + text, text, strict=False):
        if not c.isalnum() or (c.isupper() and before.islower()):
            out.append(word)
            word = ""
        if c.isalnum():
            word += c.lower()
    return [w for w in (*out, word) if w]
