"""`turnwise sessions …`: the commands and their options, as click reads them. What a command does is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from .kinds import WORDS, Duration, Size


class ListGroup(click.Group):
    """A group that lists when no command is given."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


AUDIT_KINDS = ("verdict", "approval", "denial", "hook", "middleware", "settings")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON; errors, too.")
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group(cls=ListGroup)
def sessions() -> None:
    """List, read, search, move and tidy up kept sessions.

    A SESSION is its name, its id, or the beginning of its id. Where none is given, the last one of this folder is meant.
    """


@sessions.command("list")
@click.option("--here", is_flag=True, help="Only those begun in this folder.")
@click.option("--tag", "tags", multiple=True, type=WORDS, metavar="TAG", help="Only those with this tag. Repeatable.")
@click.option("--archived", is_flag=True, help="The archived ones instead.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, metavar="N", help="At most N.  [default: 50]")
@_json
def list_(here: bool, tags: tuple[str, ...], archived: bool, limit: int, as_json: bool) -> int:
    """The sessions there are, the last one first (the default command)."""
    from .sessions import Listing, list_sessions

    return list_sessions(Listing(here=here, tags=tags, archived=archived, limit=limit, as_json=as_json))


@sessions.command()
@click.argument("session", type=WORDS, required=False)
@_json
def show(session: str | None, as_json: bool) -> int:
    """What was said in a session."""
    from .sessions import show_session

    return show_session(session, as_json)


@sessions.command()
@click.argument("text", type=WORDS, nargs=-1, required=True)
@click.option("--session", type=WORDS, metavar="SESSION", help="Only in this one.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, metavar="N", help="At most N.  [default: 20]")
@_json
def search(text: tuple[str, ...], session: str | None, limit: int, as_json: bool) -> int:
    """Where all these words were said, by whomever. Words in double quotes stand together."""
    from .sessions import search_sessions

    return search_sessions(" ".join(text), session, limit, as_json)


@sessions.command()
@click.argument("session", type=WORDS, required=False)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["jsonl", "markdown", "html", "text"]),
    help="jsonl is complete and can be imported.  [default: by the name of FILE, else jsonl]",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Into a file.")
@click.option("--salvage", is_flag=True, help="Take what can be read of a damaged session.")
@_json
def export(session: str | None, form: str | None, output: Path | None, salvage: bool, as_json: bool) -> int:
    """Write a session to standard output or a file."""
    from .sessions_move import Export, export_one

    return export_one(Export(session=session, form=form, output=output, salvage=salvage, as_json=as_json))


@sessions.command()
@click.argument("session", type=WORDS, required=False)
@click.option("--all", "everything", is_flag=True, help="Of all sessions, also archived ones.")
@click.option("--since", "since_s", type=Duration(), metavar="TIME", help="Only what was decided in the last 30d, 12h.")
@click.option("--kind", type=click.Choice(AUDIT_KINDS), help="Only records of this kind.")
@click.option("--tool", type=WORDS, metavar="NAME", help="Only what was decided about calls of this tool.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="As JSONL into a file."
)
@_json
def audit(
    session: str | None,
    everything: bool,
    since_s: float | None,
    kind: str | None,
    tool: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """What was decided in a session: approvals, denials, rules, settings."""
    from .sessions_audit import Audit, audit_sessions

    if everything and session is not None:
        raise click.UsageError("Name a session, or say --all.")
    return audit_sessions(
        Audit(
            session=session,
            everything=everything,
            since_s=since_s,
            kind=kind,
            tool=tool,
            output=output,
            as_json=as_json,
        )
    )


@sessions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--name", type=WORDS, metavar="NAME", help="What it is to be called.  [default: as it was, if that is free]"
)
@_json
def import_(file: Path, name: str | None, as_json: bool) -> int:
    """Take in a session that was exported as jsonl; "-" reads standard input. Prints its new id."""
    from .sessions_move import import_one

    return import_one(file, name, as_json)


@sessions.command()
@click.argument("session", type=WORDS, required=False)
@click.option("--at", type=click.IntRange(min=0), metavar="TURN", help="As it was after this turn.")
@click.option("--name", type=WORDS, metavar="NAME", help="What the new one is called.")
@_json
def fork(session: str | None, at: int | None, name: str | None, as_json: bool) -> int:
    """Begin a session that goes on from where another one is, or was. Prints its id."""
    from .sessions_move import fork_one

    return fork_one(session, at, name, as_json)


@sessions.command()
@click.argument("session", type=WORDS)
@click.option("--name", type=WORDS, metavar="NAME", help='Call it so; "" takes its name away.')
@click.option("--title", type=WORDS, metavar="TEXT", help="Its title in lists.")
@click.option("--tag", "tags", multiple=True, type=WORDS, metavar="TAG", help="Add a tag. Repeatable.")
@click.option("--untag", "untags", multiple=True, type=WORDS, metavar="TAG", help="Take a tag away. Repeatable.")
@click.option("--archive/--unarchive", "archived", default=None, help="Leave it out of lists, or not any more.")
@_json
def edit(
    session: str,
    name: str | None,
    title: str | None,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    archived: bool | None,
    as_json: bool,
) -> int:
    """Change name, title or tags of a session, or archive it."""
    from .sessions import Change, edit_session

    return edit_session(
        Change(session=session, name=name, title=title, tags=tags, untags=untags, archived=archived, as_json=as_json)
    )


@sessions.command()
@click.argument("sessions", type=WORDS, nargs=-1, required=True, metavar="SESSION...")
@_yes
@_json
def delete(sessions: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete sessions for good."""
    from .sessions_upkeep import delete_sessions

    return delete_sessions(sessions, yes, as_json)


@sessions.command()
@click.option("--older-than", type=Duration(), metavar="TIME", help="Those last changed so long ago: 30d, 12h.")
@click.option("--max-size", type=Size(), metavar="SIZE", help="The oldest, until the rest takes no more: 500MB.")
@click.option("--named", is_flag=True, help="Those with a name, too.")
@click.option("--unfinished", is_flag=True, help="Those whose turn has not ended, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_yes
@_json
def prune(
    older_than: float | None,
    max_size: int | None,
    named: bool,
    unfinished: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete sessions that are old, or too many bytes."""
    from .sessions_upkeep import Pruning, prune_sessions

    if older_than is None and max_size is None:
        raise click.UsageError("Say what is to go: --older-than, --max-size, or both.")
    return prune_sessions(
        Pruning(
            older_than_s=older_than,
            max_bytes=max_size,
            named=named,
            unfinished=unfinished,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
    )


@sessions.command()
@_json
def verify(as_json: bool) -> int:
    """Check all that is kept; exit code 1 if something is damaged."""
    from .sessions_upkeep import verify_sessions

    return verify_sessions(as_json)


@sessions.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_json
def backup(file: Path, as_json: bool) -> int:
    """Write all that is kept into one file."""
    from .sessions_upkeep import backup_sessions

    return backup_sessions(file, as_json)


@sessions.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_json
def restore(file: Path, as_json: bool) -> int:
    """Put a backup back, where nothing is kept yet."""
    from .sessions_upkeep import restore_sessions

    return restore_sessions(file, as_json)
