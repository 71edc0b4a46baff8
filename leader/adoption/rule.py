"""Rules: which objects are logs, and what the parts of their keys mean. Pure functions of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import re2

from joblog.errors import InvalidInput
from joblog.identity import DEFAULT_NAMESPACE, MAX_ATTEMPT, MAX_LABEL_VALUE_LENGTH, LogName, check_log_name
from joblog.leader.archive.foreign import GZIP_SUFFIX

DEFAULT_METADATA = "metadata.json"
NO_METADATA = "-"
DEFAULT_TASK = "main"
MAX_RULE_LENGTH = 1000
_MAX_PARTS = 32
_PART = re.compile(r"\{([A-Za-z][A-Za-z0-9_]{0,49})\}")
_ATTEMPT = "attempt"
_NAMES = ("namespace", "run", "task", _ATTEMPT)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._\-:+~]")


class Template(NamedTuple):
    """A text with parts of a key in it: `{jobName}-{day}`. parts: their names; texts: what stands around them."""

    texts: tuple[str, ...]
    parts: tuple[str, ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with these values in it."""
        found = [self.texts[0]]
        for part, text in zip(self.parts, self.texts[1:], strict=True):
            found += [values[part], text]
        return "".join(found)


def parse_template(text: str, what: str) -> Template:
    """Raises InvalidInput. what: for the message."""
    if len(text) > MAX_RULE_LENGTH:
        raise InvalidInput(f"{what} has {len(text)} characters, at most {MAX_RULE_LENGTH} are allowed")
    pieces = _PART.split(text)
    texts, parts = tuple(pieces[::2]), tuple(pieces[1::2])
    for piece in texts:
        if "{" in piece or "}" in piece:
            raise InvalidInput(
                f"{what} {text[:200]!r}: what stands in braces is a part's name, as in {{jobName}}: a letter, then "
                "letters, digits and _"
            )
    if len(parts) > _MAX_PARTS:
        raise InvalidInput(f"{what} has {len(parts)} parts in braces, at most {_MAX_PARTS} are allowed")
    return Template(texts, parts)


class Matched(NamedTuple):
    """What a rule says of a key. name: of the log. metadata_key: of what lies beside it; "" for nothing."""

    name: LogName
    labels: dict[str, str]
    metadata_key: str


class Rule:
    """A rule over keys below the place that is adopted from.

    text: `{namespace}/{jobType}/{serviceName}/{jobName}/logs.txt`; a part stands for anything but a slash, as little as
    will do, `{attempt}` for digits. Objects with `.gz` behind it match too. names: templates for namespace, run, task
    and attempt, in place of the parts that are called so. Without either, of the parts that nothing else uses the last
    one is the run, and the one before it the task; the namespace is `default`, a task that no part is left for `main`,
    the attempt 1. Parts that are in no name become labels.
    """

    def __init__(self, text: str, names: Mapping[str, str] | None = None, metadata: str = DEFAULT_METADATA) -> None:
        """Raises InvalidInput."""
        self._key = parse_template(text, "the rule")
        parts = self._key.parts
        _check_rule(text, parts)
        given = {name: value for name, value in (names or {}).items() if value}
        self._names = self._choose(given)
        self._metadata = None if metadata == NO_METADATA else parse_template(metadata, "the metadata's name")
        for what, template in (*self._names.items(), ("metadata", self._metadata)):
            unknown = sorted(set(template.parts) - set(parts)) if template else []
            if unknown:
                raise InvalidInput(f"{what}: the rule has no part {{{unknown[0]}}}, only {', '.join(parts) or 'none'}")
        self.labels = [part for part in parts if not any(part in one.parts for one in self._names.values())]
        self._pattern = _compile(self._key)

    def _choose(self, given: Mapping[str, str]) -> dict[str, Template]:
        """A template for each name."""
        parts = self._key.parts
        chosen = {name: parse_template(text, name) for name, text in given.items()}
        for name in _NAMES:
            if name not in chosen and name in parts:
                chosen[name] = Template(("", ""), (name,))
        used = {part for template in chosen.values() for part in template.parts}
        free = [part for part in parts if part not in used]
        for name in ("run", "task"):
            if name not in chosen and free:
                chosen[name] = Template(("", ""), (free.pop(),))
        if "run" not in chosen:
            raise InvalidInput("the rule has no part that tells the run: name one {run}, or give the run's name apart")
        defaults = {"namespace": DEFAULT_NAMESPACE, "task": DEFAULT_TASK, "attempt": "1"}
        return {name: Template((text,), ()) for name, text in defaults.items()} | chosen

    def is_beside(self, key: str) -> bool:
        """Whether a key is what lies beside a log, as far as its name alone tells."""
        metadata = self._metadata
        return metadata is not None and not metadata.parts and key.rpartition("/")[2] == metadata.texts[0]

    def match(self, key: str) -> Matched | None:
        """What the rule says of a key; None when it does not match. Raises InvalidInput where that gives no name."""
        found = self._pattern.fullmatch(key)
        if found is None:
            return None
        values = dict(zip(self._key.parts, found.groups(), strict=False))
        namespace, run, task = (to_name(self._names[what].fill(values)) for what in ("namespace", "run", "task"))
        name = LogName(namespace, run, task, _attempt(self._names[_ATTEMPT].fill(values)))
        check_log_name(name)
        folder = key.rpartition("/")[0]
        beside = "" if self._metadata is None else self._metadata.fill(values)
        labels = {part: to_label(values[part]) for part in self.labels}
        return Matched(name, labels, f"{folder}/{beside}" if folder and beside else beside)


def _check_rule(text: str, parts: Sequence[str]) -> None:
    if text.startswith("/") or text.endswith("/") or "//" in text or not text:
        raise InvalidInput(
            f"the rule {text[:200]!r} is none: write the key of a log below the URL, as in "
            "{namespace}/{run}/{task}/logs.txt"
        )
    twice = sorted(part for part in set(parts) if parts.count(part) > 1)
    if twice:
        raise InvalidInput(f"the rule has the part {{{twice[0]}}} twice: give each a name of its own")


def _compile(template: Template) -> "re2._Regexp[str]":  # noqa: UP037 - the stub alone knows it
    expression = re2.escape(template.texts[0])
    for part, text in zip(template.parts, template.texts[1:], strict=True):
        expression += f"([0-9]+){re2.escape(text)}" if part == _ATTEMPT else f"([^/]+?){re2.escape(text)}"
    # In time that grows with the key alone, whatever the rule.
    return re2.compile(f"{expression}(?:{re2.escape(GZIP_SUFFIX)})?")


def to_name(text: str) -> str:
    """A text as a name: what no name may have becomes `=` and two hexadecimal digits for each byte of it.

    A text that is a name already stays as it is.
    """
    if not text.startswith(".") and not _NOT_IN_NAMES.search(text.replace("=", "")):
        return text
    quoted = _NOT_IN_NAMES.sub(lambda found: "".join(f"={byte:02X}" for byte in _bytes(found[0])), text)
    return f"=2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def to_label(text: str) -> str:
    """A text as a label's value: cut where it is too long, without what can't be printed."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_LABEL_VALUE_LENGTH])


def _attempt(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:11]) <= MAX_ATTEMPT or len(text) > 10:
        raise InvalidInput(f"attempt {text[:40]!r} is not an integer from 1 to {MAX_ATTEMPT}")
    return int(text)
