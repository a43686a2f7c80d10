"""All mistakes of a configuration are told at once, each with file, line, path and what was expected (H5), in TOML and in YAML."""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import date
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.plugins.conftest import Diary

from turnwise.errors import ConfigError
from turnwise.plugins import Plugin, Plugins, PluginsConfigError, Problem, Use
from turnwise.runtime.plugins.expected import expected
from turnwise.runtime.plugins.problems import path_text
from turnwise.runtime.plugins.settings import read
from turnwise.runtime.plugins.toml_lines import toml_lines
from turnwise.runtime.plugins.yaml_lines import read_yaml


class City(msgspec.Struct, frozen=True):
    name: str
    population: Annotated[int, msgspec.Meta(ge=1)] = 1


class Settings(msgspec.Struct, frozen=True):
    units: Literal["metric", "imperial"] = "metric"
    days: Annotated[int, msgspec.Meta(ge=1, le=14)] = 3
    cities: list[City] = []
    aliases: dict[str, City] = {}
    home: City | None = None
    since: date | None = None


class Strict(msgspec.Struct, frozen=True):
    key_name: str
    retries: int = 3

    def __post_init__(self) -> None:
        if self.retries > 5:
            raise ValueError("retries and patience do not go together")


def plugins(diary: Diary) -> list[type[Plugin[Any]]]:
    weather, mail = diary.plugin("weather"), diary.plugin("mail", "weather")
    weather.settings_type, mail.settings_type = Settings, Strict
    return [weather, mail, diary.plugin("plain")]


def load(folder: Path, diary: Diary, name: str, text: str) -> Plugins:
    (folder / name).write_text(dedent(text))
    return Plugins.load(folder / name, plugins=plugins(diary))


def problems(folder: Path, diary: Diary, name: str, text: str) -> list[str]:
    """What is wrong, without the folder."""
    with pytest.raises(PluginsConfigError) as raised:
        load(folder, diary, name, text)
    error = raised.value
    assert error.code == "invalid_plugins"
    assert all(str(one) in error.message for one in error.problems), "the message has all of them"
    return [str(one).removeprefix(f"{folder}/") for one in error.problems]


GOOD = {
    "a.toml": """\
        [plugins.weather]
        priority = 3
        required = false
        start_s = 2
        settings = { units = "imperial", cities = [{ name = "Rome" }], since = 2020-02-02 }

        [plugins.mail.settings]
        key_name = "MAIL_KEY"

        [plugins.plain]
        enabled = false
    """,
    "a.yaml": """\
        plugins:
          weather:
            priority: 3
            required: false
            start_s: 2
            settings: {units: imperial, cities: [{name: Rome}], since: 2020-02-02}
          mail:
            settings:
              key_name: MAIL_KEY
          plain: {enabled: false}
    """,
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_file_says_is_honoured(name: str, tmp_path: Path, diary: Diary) -> None:
    made = load(tmp_path, diary, name, GOOD[name])
    weather, mail = made.uses
    assert (weather.name, weather.priority, weather.required, weather.start_s, weather.stop_s) == (
        "weather",
        3,
        False,
        2,
        5,
    )
    assert weather.settings == Settings(units="imperial", cities=[City("Rome")], since=date(2020, 2, 2))
    assert (mail.required, mail.settings) == (True, Strict("MAIL_KEY"))
    assert [(one.name, one.error) for one in made.left_out] == [("plain", None)]


BAD = {
    "a.toml": """\
        # all that can be wrong
        [plugins.weather]
        enabled = "yes"
        prioritty = 1

        [plugins.weather.settings]
        units = "metrisch"
        days = 15
        cities = [
          { name = "Rome" },
          { name = 7, population = 0 },  # two mistakes
          "Paris",
        ]
        aliases.r.population = 2
        colour = "blue"

        [plugins.mail]
        settings = { retries = 2 }

        [plugins.wether]

        [plugin]
    """,
    "a.yaml": """\
        # all that can be wrong
        plugins:
          weather:
            enabled: "yes"
            prioritty: 1
            settings:
              units: metrisch
              days: 15
              cities:
                - name: Rome
                - {name: 7, population: 0}
                - Paris
              aliases:
                r:
                  population: 2
              colour: blue
          mail:
            settings: {retries: 2}
          wether:
        plugin: {}
    """,
}
SAID = [
    ("plugins.weather.enabled", "expected true or false, found a string", 3, 4),
    ("plugins.weather.prioritty", "unknown key; did you mean 'priority'?", 4, 5),
    ("plugins.weather.settings.units", "expected 'imperial' or 'metric', found another string", 7, 7),
    ("plugins.weather.settings.days", "expected a whole number from 1 to 14, found another whole number", 8, 8),
    ("plugins.weather.settings.cities[1].name", "expected a string, found a whole number", 11, 11),
    (
        "plugins.weather.settings.cities[1].population",
        "expected a whole number of 1 or more, found another whole number",
        11,
        11,
    ),
    ("plugins.weather.settings.cities[2]", "expected a table, found a string", 12, 12),
    ("plugins.weather.settings.aliases.r.name", "is missing: expected a string", 14, 14),
    (
        "plugins.weather.settings.colour",
        "unknown key; expected one of units, days, cities, aliases, home or since",
        15,
        16,
    ),
    ("plugins.mail.settings.key_name", "is missing: expected a string", 18, 18),
    ("plugins.wether", "there is no such plugin; did you mean 'weather'?", 20, 19),
    ("plugin", "unknown key; did you mean 'plugins'?", 22, 20),
]


@pytest.mark.parametrize("name", BAD)
def test_all_mistakes_are_told_at_once_with_file_line_path_and_what_was_expected(
    name: str, tmp_path: Path, diary: Diary
) -> None:
    """H5"""
    which = 2 if name == "a.toml" else 3
    wanted = [f"{name}:{row[which]}: {row[0]}: {row[1]}" for row in SAID]
    found = problems(tmp_path, diary, name, BAD[name])
    assert sorted(found) == sorted(wanted)
    lines = [int(one.split(":")[1]) for one in found]
    assert lines == sorted(lines), "in the order of the file"


def test_a_problem_is_data(tmp_path: Path, diary: Diary) -> None:
    (tmp_path / "a.toml").write_text("[plugins.weather.settings]\nunits = 3\n")
    with pytest.raises(PluginsConfigError) as raised:
        Plugins.load(tmp_path / "a.toml", plugins=plugins(diary))
    assert raised.value.problems == (
        Problem(
            "expected 'imperial' or 'metric', found a whole number",
            "plugins.weather.settings.units",
            str(tmp_path / "a.toml"),
            2,
            "'imperial' or 'metric'",
        ),
    )


def test_no_value_is_repeated(tmp_path: Path, diary: Diary) -> None:
    """P6: what was written in a wrong place may be a key."""
    secret = "sk-0123456789"
    text = f'[plugins.weather]\nenabled = "{secret}"\nsettings = {{ units = "{secret}", home = "{secret}", days = "{secret}" }}\n'
    found = problems(tmp_path, diary, "a.toml", text)
    assert len(found) == 4
    assert secret not in "".join(found)


def test_what_the_settings_say_of_themselves_is_told(tmp_path: Path, diary: Diary) -> None:
    text = '[plugins.mail.settings]\nkey_name = "K"\nretries = 9\n[plugins.weather]\n'
    assert problems(tmp_path, diary, "a.toml", text) == [
        "a.toml:1: plugins.mail.settings: retries and patience do not go together"
    ]


def test_requirements_are_told_together_with_the_rest(tmp_path: Path, diary: Diary) -> None:
    text = '[plugins.weather]\nenabled = false\n[plugins.mail]\npriority = "high"\nsettings.key_name = "K"\n'
    assert problems(tmp_path, diary, "a.toml", text) == [
        "a.toml:3: plugins.mail: requires 'weather', which is disabled: expected it to be enabled",
        "a.toml:4: plugins.mail.priority: expected a whole number, found a string",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[plugins.weather]\nenabled = yes\n", "a.toml:2: is not TOML: Invalid value"),
        ("a.toml", "[plugins.weather]\n[plugins.weather]\n", "a.toml:2: is not TOML: Cannot declare"),
        ("a.toml", "[plugins.weather]\nsettings = {\n", "a.toml:2: is not TOML:"),
        ("a.yaml", "plugins:\n  weather: [\n", "a.yaml:3: is not YAML: while parsing a flow node"),
        ("a.yaml", "plugins:\n  weather: !!python/object:os.system {}\n", "a.yaml:2: is not YAML: could not determine"),
        (
            "a.yaml",
            "plugins:\n  weather:\n    enabled: true\n    enabled: true\n",
            "a.yaml:4: plugins.weather.enabled: is there twice",
        ),
        ("a.yaml", "plugins:\n  ? [a, b]\n  : 1\n", "a.yaml:2: has a key that is no string"),
        ("a.yaml", "plugins: &a\n  weather: *a\n", "a.yaml:1: is too large, or contains itself"),
        ("a.yaml", "- a\n- b\n", "a.yaml:1: expected a table, found a list"),
        ("a.yaml", "", "a.yaml:1: plugins: is missing: expected a table"),
        ("a.toml", "", "a.toml:1: plugins: is missing: expected a table"),
        ("a.json", "{}", "a.json: is neither TOML nor YAML by its name: expected .toml, .yaml or .yml"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    name: str, text: str, said: str, tmp_path: Path, diary: Diary
) -> None:
    found = problems(tmp_path, diary, name, text)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_yaml_that_multiplies_itself_is_refused(tmp_path: Path, diary: Diary) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    assert "too large" in problems(tmp_path, diary, "a.yaml", bomb)[0]


def test_files_that_are_not_there_or_are_no_text(tmp_path: Path, diary: Diary) -> None:
    with pytest.raises(PluginsConfigError, match="cannot be read: No such file"):
        Plugins.load(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_bytes(b"[plugins]\n# \xff\n")
    with pytest.raises(PluginsConfigError, match=r"a\.toml:2: is not UTF-8"):
        Plugins.load(tmp_path / "a.toml")


def test_anchors_and_merges_of_yaml_work(tmp_path: Path, diary: Diary) -> None:
    text = """\
        plugins:
          weather: &w
            required: false
            settings: {days: 7}
          plain:
            <<: *w
            settings:
    """
    made = load(tmp_path, diary, "a.yaml", text)
    assert [(use.name, use.required) for use in made.uses] == [("weather", False), ("plain", False)]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path, diary: Diary) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[plugins.weather]\r\n\r\nnothing = 1\r\n")
    with pytest.raises(PluginsConfigError, match=r"a\.toml:3: plugins\.weather\.nothing"):
        Plugins.load(tmp_path / "a.toml", plugins=plugins(diary))


def test_without_pyyaml_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1"""
    (tmp_path / "a.yaml").write_text("plugins: {}\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError) as raised:
        Plugins.load(tmp_path / "a.yaml")
    assert raised.value.code == "missing_extra"
    assert "turnwise[yaml]" in raised.value.hint


# --- from a program ---------------------------------------------------------------------------------------------------


def test_a_program_is_told_of_all_its_mistakes_as_well(diary: Diary) -> None:
    """H5"""
    weather, mail, plain = plugins(diary)
    uses = [
        Use(weather, settings={"units": 3, "nothing": 1}, start_s=0),
        Use(mail, settings=Settings()),
        Use(plain, settings={"any": 1}, priority="high"),  # type: ignore[arg-type]
        Use(plain),
    ]
    with pytest.raises(PluginsConfigError) as raised:
        Plugins(uses)
    assert [str(one) for one in raised.value.problems] == [
        "plugins.weather.start_s: expected a number above 0 and of 3600 or less, found another number",
        "plugins.weather.settings.units: expected 'imperial' or 'metric', found a whole number",
        "plugins.weather.settings.nothing: unknown key; expected one of units, days, cities, aliases, home or since",
        "plugins.mail.settings: expected Strict, found Settings",
        "plugins.plain.priority: expected a whole number, found a string",
        "plugins.plain.settings.any: unknown key; nothing can be set here",
        "plugins.plain: is there twice",
    ]


def test_settings_may_be_the_struct_itself(diary: Diary) -> None:
    weather = plugins(diary)[0]
    assert Plugins([Use(weather, settings=Settings(days=2))]).uses[0].settings == Settings(days=2)


def test_what_is_no_plugin_class_is_refused(diary: Diary) -> None:
    with pytest.raises(ConfigError) as raised:
        Plugins([diary.plugin("a")()])  # type: ignore[list-item]
    assert raised.value.code == "invalid_plugin"


# --- what was expected ------------------------------------------------------------------------------------------------


class Tagged(msgspec.Struct, tag="one"):
    x: int


class Other(msgspec.Struct, tag="other"):
    y: int


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (bool, "true or false"),
        (int | None, "a whole number"),
        (int | str, "a whole number or a string"),
        (None, "nothing"),
        (Annotated[float, msgspec.Meta(gt=0, lt=1)], "a number above 0 and below 1"),
        (Annotated[str, msgspec.Meta(min_length=2, pattern="^a")], "a string of at least 2 characters that matches ^a"),
        (Annotated[str, msgspec.Meta(min_length=2, max_length=2)], "a string of 2 characters"),
        (Annotated[list[int], msgspec.Meta(max_length=3)], "a list of at most 3 elements"),
        (date, "a string (date)"),
        (Literal[1, "a"], "1 or 'a'"),
        (City, "a table"),
        (complex, "a complex"),
    ],
)
def test_types_in_words(type_: Any, words: str) -> None:
    assert expected(type_) == words


def test_a_union_of_tables_is_told_by_whoever_reads_it() -> None:
    struct = msgspec.defstruct("S", [("of", Tagged | Other), ("all", list[Tagged | Other], [])])
    faults = read({"of": {"type": "one", "x": "a"}, "all": [{"type": "other", "y": 1}, {"type": "third"}]}, struct)[1]
    assert [(path_text(fault.path), fault.message) for fault in faults] == [
        ("of.x", "expected `int`, got `str`"),
        ("all[1].type", "invalid value 'third'"),
    ]


# --- lines ------------------------------------------------------------------------------------------------------------

HARD = '''\
"quoted key" = 1
'literal' = 2
a.b."c.d" = [ # comment with ]
  1, # two, three
  [2, "]", """x
y]"""],
  { p = 1, "q r" = { s = '}' } },
]
text = """
[not.a.table]
key = "no key"\\"""
"""
quotes = \'\'\'
it's # no comment
\'\'\'\'\'
day = 1979-05-27 07:32:00
[ plugins . "odd name" ]
x=1
[[many]]
one = 1
[[many]]
two = 2
[many.below]
three = 3
[[many.inner]]
four = [4,
 5]
'''


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], object]:
    out: dict[tuple[str | int, ...], object] = {path: value}
    if isinstance(value, dict):
        for key, inner in value.items():
            out |= paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            out |= paths_of(inner, (*path, number))
    return out


def test_every_place_of_a_hard_toml_document_has_its_line() -> None:
    lines = toml_lines(HARD)
    assert set(lines) == set(paths_of(tomllib.loads(HARD)))
    text = HARD.splitlines()
    wanted = {
        ("quoted key",): 1,
        ("a", "b", "c.d"): 3,
        ("a", "b", "c.d", 1, 1): 5,
        ("a", "b", "c.d", 2, "q r", "s"): 7,
        ("plugins", "odd name", "x"): text.index("x=1") + 1,
        ("many", 0, "one"): text.index("one = 1") + 1,
        ("many", 1, "two"): text.index("two = 2") + 1,
        ("many", 1, "below", "three"): text.index("three = 3") + 1,
        ("many", 1, "inner", 0, "four", 1): len(text),
    }
    assert {path: lines[path] for path in wanted} == wanted


keys = st.text("ab.-\"' é", min_size=1, max_size=4)
scalars = st.one_of(st.integers(-9, 9), st.booleans(), st.text("a#]}[{,='\"\n\\é", max_size=6), st.floats(0, 1))
data = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=4,
)


def as_toml(value: object, draw: Any) -> str:
    """The value in one of the ways in which TOML can be written; each key and element that has a line of its own begins with a mark."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join([f"{json.dumps(k, ensure_ascii=False)} = {as_toml(v, draw)}" for k, v in value.items()])
            + "}"
        )
    if isinstance(value, list):
        gap = draw(st.sampled_from(["", " ", "\n", " # ] }\n"]))
        return "[" + "".join([f"{gap}{as_toml(v, draw)}{gap}," for v in value]) + gap + "]"
    if isinstance(value, str):
        if "'" not in value and "\n" not in value and draw(st.booleans()):
            return f"'{value}'"
        if draw(st.booleans()):
            return '"""\n' + value.replace("\\", "\\\\").replace('"', '\\"') + '"""'
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


@given(data, st.data())
@examples(100)
def test_the_places_found_in_toml_are_those_that_tomllib_finds(value: dict[str, Any], choose: st.DataObject) -> None:
    """Whatever a document looks like: no place is missed and none invented, and keys of the first level are in their lines."""
    text, begins = "", {}
    for key, inner in value.items():
        text += choose.draw(st.sampled_from(["", "\n", "# [x]\n", "  "]))
        begins[(key,)] = text.count("\n") + 1
        text += f"{json.dumps(key, ensure_ascii=False)} = {as_toml(inner, choose.draw)}\n"
    read_again = tomllib.loads(text)
    lines = toml_lines(text)
    assert set(lines) == set(paths_of(read_again))
    assert {path: lines[path] for path in begins} == begins


@given(data, st.sampled_from([True, False, None]))
@examples(100)
def test_the_places_found_in_yaml_are_those_that_pyyaml_finds(value: dict[str, Any], flow: bool | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    read_again, lines, twice = read_yaml(text)
    assert read_again == value
    assert not twice
    assert set(lines) == set(paths_of(value))


@given(data)
@examples(100)
def test_reading_settings_never_fails_but_by_saying_what_is_wrong(value: dict[str, Any]) -> None:
    """Whatever is written: the struct, or faults at places of the data or of fields that are missing."""
    for type_ in (Settings, Strict, City):
        made, faults = read(value, type_)
        assert (made is None) == bool(faults)
        assert all(path_text(fault.path) and fault.message for fault in faults)
