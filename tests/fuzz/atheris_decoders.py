"""Every decoder, fuzzed with coverage as the guide: the longer run beside test_decoders.py.

    pip install 'turnwise[test,fuzz]'
    python tests/fuzz/atheris_decoders.py -max_total_time=3600 [--api openai.chat] [FOLDER]

The options with one dash are libFuzzer's (not `-jobs`: it would start this file as a program; start several runs with one FOLDER
instead). FOLDER keeps what was found interesting from run to run. A failing input is written to `crash-…`;
`python tests/fuzz/atheris_decoders.py [--api openai.chat] crash-…`, with the same `--api`, runs it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["turnwise.wire", "turnwise.core.reducer"]):
    from tests.fuzz.invariants import APIS_WITH_STREAMS, check, samples

    from turnwise.wire import codec

    for _api in APIS_WITH_STREAMS:
        codec(_api)  # loaded when first asked for: without this, outside of what is instrumented

STATUSES = (200, 200, 200, 204, 302, 400, 429, 500)
KINDS = (
    "text/event-stream",
    "application/json",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "",
    "text/html",
)


def inputs(apis: tuple[str, ...], folder: Path) -> None:
    """What to begin with: each provider's own bodies. The first four bytes say how they are fed."""
    for at, api in enumerate(apis):
        for n, (body, _) in enumerate(samples(api)):
            (folder / f"{api}-{n}").write_bytes(bytes([at, 0, n % len(KINDS), 16]) + body)


def one(apis: tuple[str, ...], data: bytes) -> None:
    if len(data) < 4:
        return
    api, status, kind = apis[data[0] % len(apis)], STATUSES[data[1] % len(STATUSES)], KINDS[data[2] % len(KINDS)]
    body, size = data[4:], max(1, data[3])
    check(api, status, {"content-type": kind}, [body[i : i + size] for i in range(0, len(body), size)] or [b""])


def main() -> None:
    arguments, apis = list(sys.argv), APIS_WITH_STREAMS
    if "--api" in arguments:
        at = arguments.index("--api")
        apis = (arguments[at + 1],)
        del arguments[at : at + 2]
    with tempfile.TemporaryDirectory() as folder:
        inputs(apis, Path(folder))
        if not any(Path(a).is_file() for a in arguments[1:]):
            arguments.append(folder)
        atheris.Setup(arguments, lambda data: one(apis, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
