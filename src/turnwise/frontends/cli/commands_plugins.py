"""`turnwise plugins …`: the commands and their options, as click reads them. What a command does is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from .commands_sessions import ListGroup

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
_paths = click.option(
    "--path",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A plugin's file or folder; its code is run. Repeatable.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON; errors, too.")


@click.group(cls=ListGroup)
def plugins() -> None:
    """List plugins and check their configuration.

    FILE is a configuration in TOML or YAML; where none is given, plugins.toml or plugins.yaml of this folder. Nothing is started, but
    installed plugins are imported.
    """


@plugins.command("list")
@_file
@_paths
@_json
def list_(file: Path | None, paths: tuple[Path, ...], as_json: bool) -> int:
    """The plugins that there are, and what FILE says of them (the default command)."""
    from .plugins import list_plugins

    return list_plugins(file, paths, as_json)


@plugins.command()
@_file
@_paths
@_json
def check(file: Path | None, paths: tuple[Path, ...], as_json: bool) -> int:
    """Say all that is wrong with FILE; exit code 2 if anything is."""
    from .plugins import check_plugins

    return check_plugins(file, paths, as_json)
