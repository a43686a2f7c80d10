"""Planted bugs: secrets that are printed (P6), spans, ids in log records, and what a journal tells. See `table.py`."""

from __future__ import annotations

from row import Row

SPANS, TROUBLE = "tests/telemetry/test_spans.py::", "tests/telemetry/test_trouble.py::"
MEASURED = "tests/telemetry/test_measured.py::"
SECRETS, LOGS, TREE = (
    "tests/telemetry/test_secrets.py::",
    "tests/telemetry/test_logs.py::",
    "tests/telemetry/test_tree.py::",
)

ROWS = [
    Row(
        "P6",
        "a key is not noted when it is read",
        "models/endpoint.py",
        "    learn(key)\n    return printable(host, key)",
        "    return printable(host, key)",
        (f"{SECRETS}test_a_planted_key_is_nowhere",),
    ),
    Row(
        "P6",
        "a provider's error is journalled with the key that it echoes",
        "runtime/said.py",
        "msgspec.structs.replace(masked(error), provider",
        "msgspec.structs.replace(error, provider",
        (f"{SECRETS}test_a_planted_key_is_nowhere",),
    ),
    Row(
        "P6",
        "what a tool raises is told with the key in it",
        "tools/results.py",
        '    said = mask(f"{name}: {said}" if said else name)',
        '    said = f"{name}: {said}" if said else name',
        (f"{SECRETS}test_a_planted_key_is_nowhere",),
    ),
    Row(
        "P6",
        "tokens that are renewed are not noted",
        "models/token.py",
        "        learn(token, passing=True)\n",
        "",
        (f"{SECRETS}test_a_token_that_a_function_gives_is_covered",),
    ),
    Row(
        "P6",
        "tracebacks in log records are not looked at",
        "runtime/telemetry/logs.py",
        "            record.exc_text, record.exc_info = covered, None",
        "            pass",
        (f"{SECRETS}test_exceptions_in_logs_have_no_secret",),
    ),
    Row(
        "P6",
        "an agent shows the password in its model's address",
        "runtime/agent.py",
        'return mask(f"Agent({self.model!r}, name={self.name!r}, tools={list(self.tools)})")',
        'return f"Agent({self.model!r}, name={self.name!r}, tools={list(self.tools)})"',
        (f"{SECRETS}test_reprs_tell_no_secret",),
    ),
    Row(
        "P6",
        "captured content is not covered",
        "runtime/telemetry/content.py",
        "    text = mask(text)\n",
        "",
        (f"{SECRETS}test_what_a_user_wrote_is_stored_as_it_was_given",),
    ),
    Row(
        "P6",
        "renewed tokens push lasting keys out of the registry",
        "models/secrets.py",
        "if passing else (self._lasting, MOST_LASTING)",
        "if passing else (self._passing, MOST_PASSING)",
        (f"{SECRETS}test_the_registry_is_bounded_and_tokens_do_not_push_out_keys",),
    ),
    Row(
        "P6",
        "short words are taken for secrets",
        "models/secrets.py",
        "or (len(secret) < SHORTEST_WORD and _WORD.match(secret))",
        "",
        (f"{SECRETS}test_short_words_are_no_secrets",),
    ),
    Row(
        "P6",
        "what was said is captured unasked",
        "runtime/telemetry/tracing.py",
        "content_chars if content else 0",
        "content_chars",
        (f"{SPANS}test_nothing_that_was_said_is_captured_unless_asked_for",),
    ),
    Row(
        "C3",
        "a turn's span is made the current one of whoever reads the stream",
        "runtime/telemetry/tracing.py",
        "        traced.variables.run(otel.attach, traced.within)",
        "        otel.attach(traced.within)",
        (f"{SPANS}test_a_turn_has_the_span_of_its_caller_as_parent",),
    ),
    Row(
        "E4",
        "a tool's own spans are beside its call's",
        "runtime/where.py",
        "        runtime.probe.call_begins(turn.probed, call_id, own)",
        "        pass",
        (f"{SPANS}test_what_a_tool_starts_has_the_call_as_parent",),
    ),
    Row(
        "C6",
        "the span of a parked turn stays open",
        "runtime/telemetry/tracing.py",
        "isinstance(event, (TurnFinished, TurnParked))",
        "isinstance(event, TurnFinished)",
        (f"{SPANS}test_a_parked_turn_ends_its_span_and_the_next_one_is_linked_to_it",),
    ),
    Row(
        "H2",
        "an exporter that raises ends the turn",
        "runtime/telemetry/tracing.py",
        "                elif (fields := _TOLD.get(kind)) is not None:\n"
        "                    _add_event(traced, entry, fields)\n"
        "        except Exception as error:\n"
        "            self._trouble(traced, error)",
        "                elif (fields := _TOLD.get(kind)) is not None:\n"
        "                    _add_event(traced, entry, fields)\n"
        "        except ZeroDivisionError as error:\n"
        "            self._trouble(traced, error)",
        (f"{TROUBLE}test_a_turn_goes_on_when_its_spans_cannot_be_made",),
    ),
    Row(
        "C4",
        "what is held back to be measured is not there when metrics are collected",
        "runtime/telemetry/instruments.py",
        "        self.settle()\n        return ()",
        "        return ()",
        (f"{MEASURED}test_each_collection_sees_all_that_was_measured_before_it",),
    ),
    Row(
        "C4",
        "measurements are held back without end",
        "runtime/telemetry/instruments.py",
        "        if len(self._held) >= MOST_HELD:",
        "        if False:",
        (f"{MEASURED}test_no_more_is_held_back_than_so_many",),
    ),
    Row(
        "H2",
        "a measurement that fails takes those after it along, and nobody is told",
        "runtime/telemetry/instruments.py",
        "                self._failed = error",
        "                return",
        (f"{TROUBLE}test_a_turn_goes_on_when_measuring_fails",),
    ),
    Row(
        "C4",
        "an empty context stands for none, so that measurements have exemplars of whatever span is current",
        "runtime/telemetry/instruments.py",
        'NOWHERE = set_value("turnwise.nowhere", True, Context())',
        "NOWHERE = Context()",
        (f"{MEASURED}test_measurements_have_no_exemplars",),
    ),
    Row(
        "C4",
        "what a slow watcher loses is not counted",
        "runtime/watch.py",
        "        if dropped and self.session.bound:",
        "        if False:",
        (f"{TROUBLE}test_dropped_events_are_counted",),
    ),
    Row(
        "C4",
        "a request that has its turn still counts as waiting",
        "runtime/gates.py",
        "            self.waiting -= 1",
        "            pass",
        (f"{TROUBLE}test_queues_are_measured",),
    ),
    Row(
        "E4",
        "log records of a tool do not name its call",
        "runtime/where.py",
        "    own.run(CALL.set, call_id)\n",
        "",
        (f"{LOGS}test_records_of_tools_policies_and_engine_say_where_they_come_from",),
    ),
    Row(
        "I1",
        "the library logs to stderr by itself",
        "runtime/log.py",
        'logging.getLogger("turnwise").addHandler(logging.NullHandler())',
        'logging.getLogger("turnwise").setLevel(logging.DEBUG)',
        (f"{LOGS}test_the_library_is_silent_by_default",),
    ),
    Row(
        "S4",
        "what failed attempts took is left out of a trace",
        "runtime/telemetry/tree.py",
        "        self._due_at = entry.at + (entry.retry_in_s or 0.0)\n        self._spent(entry.usage)",
        "        self._due_at = entry.at + (entry.retry_in_s or 0.0)",
        (f"{TREE}test_times_tokens_and_cost_are_those_of_the_journal",),
    ),
]
