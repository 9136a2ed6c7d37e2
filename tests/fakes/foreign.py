"""Texts that others chose, as hostile as they come; and small, strict parsers of what is made of them."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator

# Controls, separators, bidi and invisible characters; what means something to Slack, mail, Nagios, terminals, HTML ...
TOKENS = (
    *(
        "<!channel>",
        "<!here>",
        "<!everyone|x>",
        "<@U012AB3CD>",
        "<#C012AB3CD|general>",
        "<!subteam^S1>",
        "<!date^1^{x}>",
    ),
    *("<http://evil.example|bank.example>", "http://evil.example/", "<mailto:a@b|c>", "&lt;!channel&gt;", "&amp;", "&"),
    *(
        "@channel",
        "@here",
        ":bomb:",
        "*bold*",
        "_it_",
        "~no~",
        "`code`",
        "```\nblock\n```",
        "> quote",
        "<",
        ">",
        "&#60;",
    ),
    *(
        "\r\nBcc: evil@example.com",
        "\nSubject: other",
        "\r\n\r\nbody",
        "\r\n.\r\n",
        "\nQUIT",
        "\r",
        "\n",
        "\x0b",
        "\x0c",
    ),
    *(
        "\x00",
        "\x07",
        "\x08",
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\x1b[31m",
        "\x9b31m",
        "\x7f",
        "\x1c",
        "\x1d",
        "\x1e",
        "\x85",
    ),
    *(
        "\u2028",
        "\u2029",
        "\u202a",
        "\u202d",
        "\u202e",
        "\u2066",
        "\u2069",
        "\u200b",
        "\u200d",
        "\u200f",
        "\ufeff",
        "\u00ad",
    ),
    *(
        "e\u0301",
        "a" + "\u0323\u0301" * 30,
        "\U0001f469\u200d\U0001f680",
        "\U0001f1e9\U0001f1ea",
        "\ud800",
        "\udfff",
        "\uffff",
    ),
    *(
        "\ue000",
        "\U000e0041",
        "\u3000",
        "\u00a0",
        "ß",
        "İ",
        "Ω",
        "中文",
        "العربية",
        "=?utf-8?q?=0aBcc:?=",
        "=?x?b?Cg==?=",
    ),
    *(
        "|",
        "'",
        "=",
        ";",
        "'x'=1;2;3",
        "| 'y'=0",
        "$USER1$",
        "$(id)",
        "`id`",
        "%s",
        "%n",
        "%0a",
        "%(message)s",
        "{0}",
        "{x!r}",
    ),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=y>",
        "](http://evil.example)",
        "[x](javascript:y)",
        "![a](b)",
        "\\",
    ),
    *(
        '"',
        "\\n",
        "\\u0000",
        "=1+2",
        "+1",
        "-1",
        "@SUM(A1)",
        "../../etc/passwd",
        "; rm -rf /",
        "&& id",
        "--config",
        "\t",
    ),
    *("CRITICAL", "RESOLVED", "OK", "Id: x/y/1", "training", "GPT-4", "AmazonEC2", "123456789012", "a", " ", "  ", ""),
)
_LONG = 5000


def foreign_texts(seed: int, count: int) -> Iterator[str]:
    """That many texts; the same for the same seed."""
    generator = random.Random(seed)  # noqa: S311  # to be made again, not to be safe
    for number in range(count):
        parts = [_part(generator) for _ in range(generator.choice((1, 1, 2, 3, 5, 8, 20)))]
        text = "".join(parts)
        if number % 20 == 0:
            text = (text or "x") * (_LONG // max(1, len(text)) + 1)
        yield text[:_LONG] or " "


def _part(generator: random.Random) -> str:
    kind = generator.random()
    if kind < 0.75:
        return generator.choice(TOKENS)
    if kind < 0.85:
        return "".join(chr(generator.randrange(0x20)) for _ in range(generator.randrange(4)))
    if kind < 0.95:
        return "".join(chr(generator.randrange(0x110000)) for _ in range(generator.randrange(1, 6)))
    return "".join(generator.choices("abcXYZ 0123456789", k=generator.randrange(1, 40)))


def unsafe_characters(text: str, *, newlines: bool = False) -> set[str]:
    """Those that move a cursor, start a line, turn the direction, or show as nothing."""
    allowed = {"\n"} if newlines else set()
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")} - allowed


_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_MARKUP = re.compile(r"(?:^|[\s(])([*_~`])(?=\S)[^\n]*?\S\1(?=$|[\s).,:;!?])")


def read_slack(text: str) -> tuple[str, list[str]]:
    """What Slack shows of a text, and the control sequences in it (`<...>`): mentions, links, dates.

    Raises ValueError for an `&` that begins none of the three entities that Slack knows.
    """
    controls = re.findall(r"<[^<>]*>?", text)
    shown, at = [], 0
    while at < len(text):
        if text[at] == "&":
            entity = text[at : text.find(";", at) + 1]
            if entity not in _ENTITIES:
                raise ValueError(f"a bare & in {text[max(0, at - 20) : at + 20]!r}")
            shown.append(_ENTITIES[entity])
            at += len(entity)
        else:
            shown.append(text[at])
            at += 1
    return "".join(shown), controls


def slack_markup(text: str) -> list[str]:
    """The pairs of `*`, `_`, `~` or backticks that Slack would take for markup in a mrkdwn text."""
    return [match[0] for match in _MARKUP.finditer(text)]


_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = rf"(?:@?(?:~|{_NUMBER})?:?(?:{_NUMBER})?)"
_PERFDATA = re.compile(
    rf"'((?:[^'=]|'')+)'=(?:({_NUMBER})(s|us|ms|%|B|KB|MB|TB|c)?|U);({_RANGE});({_RANGE});({_NUMBER})?;({_NUMBER})?"
)


def read_plugin_output(output: str) -> tuple[str, dict[str, str | None]]:
    """(text, value by label) of a plugin's output, by the grammar of the Monitoring Plugins guidelines.

    Raises ValueError for more than one line, more than one `|`, or performance data that a parser would stumble over.
    """
    if output.count("\n") != 1 or not output.endswith("\n") or len(output.splitlines()) != 1:
        raise ValueError("not one line")
    text, bar, data = output.rstrip("\n").partition("|")
    if bar and "|" in data:
        raise ValueError("a second |")
    found: dict[str, str | None] = {}
    at = 0
    data = data.strip()
    while at < len(data):
        match = _PERFDATA.match(data, at)
        if match is None:
            raise ValueError(f"no performance data: {data[at : at + 60]!r}")
        if match[1] in found:
            raise ValueError(f"the label {match[1]!r} twice")
        found[match[1]] = match[2]
        at = match.end()
        if at < len(data) and data[at] != " ":
            raise ValueError(f"no space after {match[0]!r}")
        at += 1
    return text.strip(), found
