"""The commands and their options, as click reads them. What a command does is imported when it runs.

A first word that is no command begins a prompt: `turnwise "why is the sky blue?"` is `turnwise ask "why is the sky blue?"`.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
from click.core import ParameterSource

from ... import __version__
from .commands_plugins import plugins
from .commands_sessions import sessions
from .commands_trace import trace
from .kinds import WORDS

_OWN_OPTIONS = ("-h", "--help", "--version")


class PromptGroup(click.Group):
    """A group whose default command takes free text. A command is recognised only as the very first word."""

    default = "ask"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in _OWN_OPTIONS):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] [PROMPT]...")
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS]...", prefix=" " * len("Usage: "))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.commands[self.default].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _positive(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise click.BadParameter("must be a number of seconds above 0.", ctx=ctx, param=parameter)
    return value


@click.group(cls=PromptGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="turnwise", message="%(prog)s %(version)s")
def program() -> None:
    """Ask a model and stream its answer to standard output.

    What is piped in becomes part of the prompt, or is the prompt: git diff | turnwise "review this". Notes and errors
    go to standard error. Keys are read from ANTHROPIC_API_KEY, OPENAI_API_KEY. The session is kept: turnwise -c "and
    then?" goes on with it.

    \b
    Exit codes:
        0  completed
        1  the provider, the turn or the store failed
        2  wrong usage or configuration
        3  a limit was reached
        4  --timeout was reached
        5  another process has the session
      130  interrupted (Ctrl-C); what was received is printed
      141  nobody reads the output any more
    """


@program.command()
@click.argument("prompt", type=WORDS, nargs=-1)
@click.option(
    "-m", "--model", metavar="PROVIDER:MODEL", envvar="TURNWISE_MODEL", help="Which model. [env: TURNWISE_MODEL]"
)
@click.option("-s", "--system", type=WORDS, metavar="TEXT", help="Instructions for the model.")
@click.option("-c", "--continue", "go_on", is_flag=True, help="Go on with the last session of this folder.")
@click.option(
    "--session", type=WORDS, metavar="NAME", help="Go on with this session, or begin it. Also an id, or its beginning."
)
@click.option("--ephemeral", is_flag=True, help="Keep nothing of this.")
@click.option(
    "-a",
    "--attach",
    "attachments",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="FILE",
    help="Attach an image, a PDF or a text file. Repeatable.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print events, one JSON object per line; the last is turn.finished."
)
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error, only errors.")
@click.option("--no-stream", is_flag=True, help="Ask for the answer in one piece.")
@click.option("--max-steps", type=click.IntRange(min=0), metavar="N", help="At most N model calls.")
@click.option("--timeout", type=float, callback=_positive, metavar="SECONDS", help="End the turn after so long.")
@click.version_option(__version__, prog_name="turnwise", message="%(prog)s %(version)s")
@click.pass_context
def ask(
    ctx: click.Context,
    prompt: tuple[str, ...],
    model: str | None,
    system: str | None,
    go_on: bool,
    session: str | None,
    ephemeral: bool,
    attachments: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    no_stream: bool,
    max_steps: int | None,
    timeout: float | None,
) -> int:
    """Ask once (the default command).

    Needed only for a prompt that begins with the name of a command.
    """
    from .ask import Question, ask

    if ephemeral and (go_on or session is not None):
        raise click.UsageError("--ephemeral keeps nothing: it goes with neither --continue nor --session.", ctx)
    if session is not None and not session.strip():
        raise click.BadParameter("a session's name is not empty.", ctx, param_hint="--session")
    return ask(
        Question(
            words=" ".join(prompt),
            model=model or None,
            model_said=ctx.get_parameter_source("model") is ParameterSource.COMMANDLINE,
            system=system,
            attachments=attachments,
            as_json=as_json,
            streamed=not no_stream,
            max_steps=max_steps,
            timeout_s=timeout,
            go_on=go_on,
            session=session,
            ephemeral=ephemeral,
            quiet=quiet,
        )
    )


@program.command()
def demo() -> int:
    """See it at work: no key, no network."""
    from .demo import demo

    return demo()


@program.command()
@click.argument("search", nargs=-1)
@click.option("-p", "--provider", "providers", multiple=True, metavar="PROVIDER", help="Only its models. Repeatable.")
@click.option("--remote", is_flag=True, help="Ask the providers whose key is set, or those of -p.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def models(search: tuple[str, ...], providers: tuple[str, ...], remote: bool, as_json: bool) -> int:
    """List models, their limits and prices.

    Words of SEARCH must all occur in the name. Prices are US dollars per million tokens; "+" means that long input costs
    more. Any name that a provider accepts can be used, listed or not.
    """
    from .models import Query, models

    return models(Query(words=search, providers=providers, remote=remote, as_json=as_json))


program.add_command(plugins)
program.add_command(sessions)
program.add_command(trace)
