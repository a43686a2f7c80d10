"""`turnwise plugins list | check`: what there is, and what is wrong with a configuration, for people and for programs (H5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from tests.plugins.conftest import WEATHER, Site, site_in

if TYPE_CHECKING:
    from .conftest import Cli, Inside


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site_in(tmp_path, monkeypatch) as made:
        yield made


def weather_in(folder: Path) -> Path:
    file = folder / "weather.py"
    file.write_text(dedent(WEATHER))
    return file


MAIL = (
    WEATHER.replace("Weather", "Mail")
    .replace('"weather"', '"mail"')
    .replace("def weather", "def mail")
    .replace("(weather)", "(mail)")
)


def test_all_plugins_are_listed_with_what_the_configuration_says(inside: Inside, site: Site) -> None:
    site.install("acme-mail", MAIL, version="2.1", mail="acme_mail:Mail")
    site.install("acme-broken", "1 / 0", broken="acme_broken:Broken")
    (inside.folder / "plugins.toml").write_text(
        "[plugins.mail]\n[plugins.weather]\nsettings.units = 3\n[plugins.gone]\nrequired = false\n[plugins.off]\nenabled = false\n"
    )
    done = inside.run("plugins", "list", "--path", str(weather_in(inside.folder)))
    assert done.code == 0
    assert [line.split() for line in done.lines] == [
        ["plugin", "version", "enabled", "status", "from"],
        ["broken", "1.0", "-", "broken", "package", "acme-broken"],
        ["gone", "-", "yes", "missing", "-"],
        ["mail", "2.1", "yes", "ready", "package", "acme-mail"],
        ["off", "-", "no", "disabled", "-"],
        ["weather", "-", "yes", "invalid", str(inside.folder / "weather.py")],
    ]
    assert done.err.splitlines() == [
        "plugins.toml:3: plugins.weather.settings.units: expected 'imperial' or 'metric', found a whole number",
        "plugins.toml:4: plugins.gone: there is no such plugin; there are broken, mail and weather",
        "package acme-broken cannot be loaded: ZeroDivisionError: division by zero.",
    ]


def test_programs_get_everything_with_the_schema_of_the_settings(inside: Inside, site: Site) -> None:
    site.install("acme-mail", MAIL, version="2.1", mail="acme_mail:Mail")
    (inside.folder / "plugins.yaml").write_text("plugins:\n  mail: {enabled: false, priority: 3}\n")
    (mail,) = inside.run("plugins", "--json").documents
    assert (mail["name"], mail["version"], mail["source"]) == ("mail", "2.1", "package acme-mail")
    assert (mail["status"], mail["enabled"], mail["required"], mail["priority"]) == ("disabled", False, True, 3)
    assert mail["settings"]["$defs"]["Settings"]["properties"]["units"] == {
        "enum": ["imperial", "metric"],
        "default": "metric",
    }


def test_without_any_it_says_so(cli: Cli) -> None:
    done = cli.run("plugins")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"There are no plugins")


def test_a_right_configuration_is_said_to_be_with_the_order_of_the_start(inside: Inside, site: Site) -> None:
    site.install(
        "acme-mail",
        MAIL.replace('name = "mail"', 'name = "mail"\n        requires = ("weather",)'),
        mail="acme_mail:Mail",
    )
    weather = weather_in(inside.folder)
    (inside.folder / "my.toml").write_text("[plugins.mail]\npriority = 9\n[plugins.weather]\n")
    done = inside.run("plugins", "check", "my.toml", "--path", str(weather))
    assert (done.code, done.out, done.err) == (0, b"my.toml is right. Starts: weather, mail.\n", "")
    done = inside.run("plugins", "check", "my.toml", "--path", str(weather), "--json")
    assert done.documents == [{"file": "my.toml", "plugins": ["weather", "mail"]}]


def test_all_errors_are_printed_and_the_exit_code_is_that_of_wrong_configuration(inside: Inside) -> None:
    """H5"""
    (inside.folder / "plugins.toml").write_text(
        '[plugins.weather]\nenabled = 1\n[plugins.weather.settings]\nunits = "k"\n[plugins.gone]\nrequired = false\n'
    )
    weather = str(weather_in(inside.folder))
    done = inside.run("plugins", "check", "--path", weather)
    assert (done.code, done.out) == (2, b"")
    assert done.err.splitlines() == [
        "Error: The configuration of plugins has 3 errors:",
        "  - plugins.toml:2: plugins.weather.enabled: expected true or false, found a whole number",
        "  - plugins.toml:4: plugins.weather.settings.units: expected 'imperial' or 'metric', found another string",
        "  - plugins.toml:5: plugins.gone: there is no such plugin; there is only weather",
    ]
    done = inside.run("plugins", "check", "--path", weather, "--json")
    assert done.code == 2
    assert done.error["code"] == "invalid_plugins"
    said = json.loads(done.err)
    assert said["problems"][0] == {
        "message": "expected true or false, found a whole number",
        "path": "plugins.weather.enabled",
        "file": "plugins.toml",
        "line": 2,
        "expected": "true or false",
    }


def test_an_optional_plugin_that_cannot_be_loaded_is_an_error_of_a_check(inside: Inside, site: Site) -> None:
    """A program would run without it; who checks wants to know."""
    site.install("acme-broken", "1 / 0", broken="acme_broken:Broken")
    (inside.folder / "plugins.toml").write_text("[plugins.broken]\nrequired = false\n")
    done = inside.run("plugins", "check")
    assert done.code == 2
    assert done.err == (
        "Error: plugins.toml:1: plugins.broken: package acme-broken cannot be loaded: ZeroDivisionError: division by zero.\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("check",), "Error: There is no plugins.toml or plugins.yaml in this folder."),
        (("check", "none.toml"), "Error: none.toml: cannot be read: No such file or directory"),
        (("list", "--path", "none.py"), "Error: There is no plugin at "),
    ],
)
def test_what_is_not_there_is_wrong_usage(args: tuple[str, ...], said: str, inside: Inside) -> None:
    done = inside.run("plugins", *args)
    assert done.code == 2
    assert done.err.startswith(said)


def test_nothing_is_started(inside: Inside) -> None:
    code = dedent(WEATHER).replace("def weather", "raise SystemExit('started')\n        def weather")
    (inside.folder / "weather.py").write_text(code)
    (inside.folder / "plugins.toml").write_text("[plugins.weather]\n")
    assert inside.run("plugins", "check", "--path", "weather.py").code == 0
