"""`Tool` and `@tool`: a function together with what the model is told about it and the rules by which it is run.

A tool only decodes, calls and renders. Running it under a timeout, in a thread or in a process of its own, and turning what happens
into an outcome, is the executor's work (`runtime`).
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload

import msgspec

from ..core.errors import ToolError, config_error
from ..core.request import ToolSpec
from .cap import DEFAULT_RESULT_CHARS
from .context import ToolContext
from .docs import read_docstring
from .extract import Extract
from .options import (
    DEFAULT_TIMEOUT_S,
    AboutOptions,
    Isolation,
    Kind,
    Permission,
    RunOptions,
    ToolOptions,
    check_options,
)
from .parameters import (
    AnyFunction,
    Signature,
    context_parameter,
    label_of,
    plain_function,
    read_signature,
    refuse_generators,
)
from .plain import PlainArguments
from .resources import Resource, names_of
from .results import Body, render_result
from .schema import Arguments, ObjectArguments
from .summaries import Returned, Summary, returned, summariser
from .validation import Validate, validated

P = ParamSpec("P")
R = TypeVar("R")

# What OpenAI and Anthropic both take as the name of a tool.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function that a model may call. Calling the tool calls the function, unchanged.

    - `name`: default is the function's name. `description`: default is its docstring.
    - `timeout_s`: how long one call may take (60 s), None for as long as the turn.
    - `idempotent`: running it twice is the same as once; after a crash it may be run again. `read_only`: it changes nothing.
    - `resource`: what it touches: a name, a path, several of these, or a function of the decoded arguments that gives them. Calls
      of one turn that touch the same resource run in call order; read-only ones run together.
    - `retries`: how often a failed call is tried again, if the error is in `retry_on` or a `ToolError(retryable=True)`.
      Needs `idempotent` or `read_only`: a call that may have had its effect is not repeated (rule E6).
    - `isolation="process"`: run in a fresh interpreter that is killed when the call ends; see `isolation.py`.
    - `concurrency`: how many calls of this tool may run at once, None for no bound of its own.
    - `max_result_chars`: how much text of a result the model gets (50,000), None for all. Of a longer one the middle is left out,
      and the whole is kept as an artifact (`ToolResult.artifact`, `read_artifact`).
    - `summary`: a function of the result, or of the decoded arguments and the result, that says in a few words what came of the
      call. Runs right after the tool; stands for the result when old results are masked. If it fails there is none.
    - `extract`: large results are read by a model first; see `Extract`.
    - `validate`: a function of the decoded arguments that says what is wrong with them beyond their types; see `Validate`.
    - `category`, `tags`: for choosing among many (`Tools`). `permission`: what a call may do (`read`, `write`, `execute`, `network`); without a
      word, `read` if it is `read_only`, else None: not known.

    `kind` tells who answers its calls: the `function`, the caller (`external`, see `Tool.external`) or the user (`question`).
    `is_async` tells whether the function is a coroutine function; others block and belong into a thread.
    """

    def __init__(
        self,
        function: Callable[P, R],
        arguments: Arguments | PlainArguments | ObjectArguments,
        call: Callable[[Any, ToolContext[Any]], Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        idempotent: bool = False,
        read_only: bool = False,
        resource: Resource | None = None,
        retries: int = 0,
        retry_on: tuple[type[Exception], ...] = (),
        isolation: Isolation = "none",
        concurrency: int | None = None,
        max_result_chars: int | None = DEFAULT_RESULT_CHARS,
        summary: Summary | None = None,
        extract: Extract | None = None,
        validate: Validate | None = None,
        category: str = "",
        tags: Iterable[str] = (),
        permission: Permission | None = None,
        kind: Kind = "function",
        answer: Callable[[Any, Any], Body] | None = None,
        expires_in_s: float | None = None,
    ) -> None:
        label = label_of(function)
        self.function = function
        self.name = name or getattr(function, "__name__", "")
        self.timeout_s = timeout_s
        self.idempotent = idempotent
        self.read_only = read_only
        self.resource = resource
        self.retries = retries
        self.retry_on = retry_on
        self.isolation: Isolation = isolation
        self.concurrency = concurrency
        self.max_result_chars = max_result_chars
        self.extract = extract
        self.category = category
        self.tags = (tags,) if isinstance(tags, str) else tuple(tags)
        self.permission: Permission | None = permission or ("read" if read_only else None)
        self.kind: Kind = kind
        self.expires_in_s = expires_in_s
        self.is_async = _is_async(function)
        self.arguments = arguments
        self._summarise = summariser(summary, label)
        self._answer = answer
        self.decode: Callable[[str], Any] = validated(arguments.decode, validate, label)
        """Raw arguments to what `invoke` takes: a struct with one field per parameter (a dict for `from_schema`); checked by `validate`.

        Blank text means no arguments. Raises `ArgumentsError`, whose `problem` is written for the model, and nothing else but what a
        validator that fails itself raises.
        """
        self.invoke: Callable[[Any, ToolContext[Any]], Any] = call
        """Call the function with decoded arguments and the context, if it takes one.

        Gives what the function gives: a coroutine if `is_async`. Raises what the function raises.
        """
        self._description, self._schema = description, parameters
        self._check(label)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[..., Any],
        **options: Unpack[RunOptions],
    ) -> Tool[..., Any]:
        """A tool from a hand-written JSON Schema of an object; `function` gets the arguments by keyword, as plain JSON values.

        Arguments are checked against the schema (see `plain.py` for the keywords) and then passed as they are; defaults in
        the schema are not filled in. A parameter annotated `ToolContext` gets the context. Raises `ConfigError` if the
        function does not take a property of the schema by name. Not available with `isolation="process"`.
        """
        label = label_of(function)
        refuse_generators(function, label)
        if options.get("isolation", "none") != "none":
            raise config_error(
                "bad_tool", f"Tool {label}: from_schema() cannot isolate.", "Use @tool(isolation='process')."
            )
        context = context_parameter(function, _locals_of_caller(2))
        taken = inspect.signature(function).parameters.values()
        by_name = frozenset(p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)) - {context}
        accepted = None if any(p.kind is p.VAR_KEYWORD for p in taken) else by_name
        arguments = PlainArguments(label, parameters, accepted)
        call = _keyword_caller(function, context)
        return Tool(function, arguments, call, parameters, name=name, description=description, **options)

    @staticmethod
    def external(
        name: str,
        description: str,
        parameters: Mapping[str, Any] | type,
        *,
        expires_in_s: float | None = None,
        max_result_chars: int | None = DEFAULT_RESULT_CHARS,
        **about: Unpack[AboutOptions],
    ) -> Tool[..., Any]:
        """A tool without code: its calls are answered by the caller, with `session.submit`.

        `parameters` is the JSON Schema of an object, or a type: a dataclass, `TypedDict`, msgspec struct or pydantic model. A
        call waits `expires_in_s` for its result, for ever if None; no task waits with it.
        """
        from .external import external_tool

        return external_tool(
            name, description, parameters, expires_in_s=expires_in_s, max_result_chars=max_result_chars, **about
        )

    @functools.cached_property
    def spec(self) -> ToolSpec:
        """The tool as the model sees it; made on first use."""
        described: str = ""
        of_parameters: Mapping[str, str] = {}
        if self._schema is None or self._description is None:
            described, of_parameters = read_docstring(plain_function(self.function).__doc__)
        schema = self.arguments.schema(of_parameters) if isinstance(self.arguments, Arguments) else self._schema
        text = self._description if self._description is not None else described
        return ToolSpec(self.name, text, msgspec.json.encode(schema).decode())

    def render(self, value: object) -> Body:
        """What the function returned, for the model; see `render_result`."""
        return render_result(value)

    def resources_of(self, arguments: Any) -> tuple[str, ...]:
        """What a call with these decoded arguments touches, as comparable names; see `resources.py`."""
        touched = self.resource
        if touched is None:
            return ()
        return names_of(touched(arguments) if callable(touched) else touched)

    def returned(self, arguments: Any, value: Any) -> Returned:
        """What the function gave for these arguments, with its summary. Never raises."""
        return returned(self._summarise, arguments, value)

    def answered(self, arguments: Any, given: Any) -> Body:
        """What the model is told when a call is answered from outside. Raises `SessionError` (`invalid_answer`) if `given` is not an
        answer to these arguments, `ToolError` if it cannot be told to a model."""
        return render_result(given) if self._answer is None else self._answer(arguments, given)

    def may_retry(self, error: BaseException) -> bool:
        """True if a call that raised this may be tried again, as far as the tool is concerned."""
        if self.retries == 0:
            return False
        return isinstance(error, self.retry_on) or (isinstance(error, ToolError) and error.retryable)

    def _check(self, label: str) -> None:
        if _NAME.fullmatch(self.name) is None:
            problem = f"has the name {self.name!r}, which model providers refuse"
            hint = "Give it one with name=: 1 to 64 of the characters a-z, A-Z, 0-9, _ and -."
            raise config_error("bad_tool", f"Tool {label} {problem}.", hint)
        check_options(
            label,
            timeout_s=self.timeout_s,
            concurrency=self.concurrency,
            retries=self.retries,
            repeatable=self.idempotent or self.read_only,
            isolation=self.isolation,
            max_result_chars=self.max_result_chars,
            expires_in_s=self.expires_in_s,
            read_only=self.read_only,
            permission=self.permission,
        )


@overload
def tool(function: Callable[P, R], /, **options: Unpack[ToolOptions]) -> Tool[P, R]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Make a tool from a function, sync or async: `@tool`, `@tool(timeout_s=5)`, or `tool(thing.method)`.

    The parameters' types come from the annotations, their descriptions from the docstring or `Annotated[str, "text"]`. A
    parameter annotated `ToolContext` gets the context and is not shown to the model. Options: see `Tool`. Raises
    `ConfigError` (`bad_tool`) for what cannot be a tool, naming function and parameter.
    """
    if function is not None:
        return _make(function, options, _locals_of_caller(2))

    def decorate(function: AnyFunction) -> Tool[..., Any]:
        return _make(function, options, _locals_of_caller(2))

    return decorate


def _make(function: AnyFunction, options: ToolOptions, local_names: Mapping[str, Any]) -> Tool[..., Any]:
    signature = read_signature(function, local_names)
    if options.get("isolation") == "process":
        _check_isolable(function, signature)
    return Tool(function, Arguments(signature), _caller(function, signature), **options)


def _check_isolable(function: AnyFunction, signature: Signature) -> None:
    """The child process must find the function by its name, and has no runtime to give it a context."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "<locals>")
    hint = "Define it with `def` at the top level of a module."
    if signature.context_name is not None:
        problem = "takes a ToolContext, which does not reach into another process"
        hint = "Pass what it needs as arguments, or leave out isolation='process'."
    elif not inspect.isfunction(function) or "<" in qualname or "." in qualname:
        problem = "is not a module-level function, so a new process cannot find it"
    elif module == "__main__" and not _has_file(sys.modules["__main__"]):
        problem = "was typed in (no file holds it), so a new process cannot find it"
    else:
        return
    raise config_error("bad_tool", f"Tool {signature.label} has isolation='process' but {problem}.", hint)


def _has_file(main: ModuleType) -> bool:
    """Whether the main program can be run again: it is a module or a file, not typed in, piped in or given by `-c`."""
    return getattr(main, "__spec__", None) is not None or os.path.isfile(getattr(main, "__file__", None) or "")


# --- calling -----------------------------------------------------------------------------------------------------------


def _caller(function: AnyFunction, signature: Signature) -> Callable[[Any, Any], Any]:
    """A function of (arguments, context) that calls the tool's function; as direct as its signature allows."""
    names = [p.name for p in signature.parameters]
    at, keyword = signature.context_at, signature.context_name
    if (keyword is not None and at is None) or any(p.keyword_only for p in signature.parameters):
        return _mixed_caller(function, signature)
    astuple = msgspec.structs.astuple
    if at is not None:
        if not names:
            return lambda _, context: function(context)
        if at == 0:
            return lambda arguments, context: function(context, *astuple(arguments))
        if at == len(names):
            return lambda arguments, context: function(*astuple(arguments), context)
        return lambda arguments, context: function(*(v := astuple(arguments))[:at], context, *v[at:])
    if not names:
        return lambda _, __: function()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda arguments, _: function(only(arguments))
    return lambda arguments, _: function(*astuple(arguments))


def _mixed_caller(function: AnyFunction, signature: Signature) -> Callable[[Any, Any], Any]:
    """For functions with keyword-only parameters: everything is passed by name."""
    names, keyword = [p.name for p in signature.parameters], signature.context_name

    def call(arguments: Any, context: Any) -> Any:
        given = dict(zip(names, msgspec.structs.astuple(arguments), strict=True))
        if keyword is not None:
            given[keyword] = context
        return function(**given)

    return call


def _keyword_caller(function: AnyFunction, context_name: str | None) -> Callable[[Any, Any], Any]:
    if context_name is None:
        return lambda arguments, _: function(**arguments)
    return lambda arguments, context: function(**arguments, **{context_name: context})


def _is_async(function: AnyFunction) -> bool:
    target = function
    while isinstance(target, functools.partial):
        target = cast("AnyFunction", target.func)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004


def _locals_of_caller(depth: int) -> Mapping[str, Any]:
    """Names visible where the tool is made, for annotations written as text that name local types."""
    return sys._getframe(depth).f_locals  # pyright: ignore[reportPrivateUsage]
