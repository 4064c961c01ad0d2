"""ECMAScript regular expressions over tensor names, as `std::regex` reads them, compiled to Python's `re`.

llama-quantize hands `--tensor-type` patterns to libstdc++'s std::regex. The two dialects share most of their syntax;
where they differ (bracket classes, lone braces, quantifiers on quantifiers, Python's own extensions) a pattern must
mean what it means there or be refused, never silently mean something else.
"""

from __future__ import annotations

import re

_CLASSES = {
    "alnum": "A-Za-z0-9", "alpha": "A-Za-z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "d": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\s", "s": r"\s",
    "upper": "A-Z", "w": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CONTROL_ESCAPES = {"0": r"\x00", "f": r"\f", "n": r"\n", "r": r"\r", "t": r"\t", "v": r"\v"}
_INTERVAL = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`pattern` in ECMAScript syntax -> a compiled pattern whose `search` finds what regex_search finds.

    Raises ValueError for a pattern that std::regex refuses, with the reason and the position.
    """
    translator = _Translator(pattern)
    text = translator.disjunction()
    if translator.at < len(pattern):
        raise translator.error("unmatched )" if pattern[translator.at] == ")" else "nothing to repeat")
    try:
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError) as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from None


class _Translator:
    """Recursive descent over the pattern; each method returns Python syntax for what it has consumed."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        self.at = 0
        self.opened = 0
        self.closed: set[int] = set()

    def error(self, reason: str) -> ValueError:
        return ValueError(f"pattern {self.pattern!r}, position {self.at}: {reason}")

    def peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        self.at += len(text) * found
        return found

    def next(self, reason: str) -> str:
        if self.at >= len(self.pattern):
            raise self.error(reason)
        self.at += 1
        return self.pattern[self.at - 1]

    def disjunction(self) -> str:
        parts = [self.alternative()]
        while self.take("|"):
            parts.append(self.alternative())
        return "|".join(parts)

    def alternative(self) -> str:
        terms = ""
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)*+?{":
            terms += self.assertion() or self.quantified(self.atom())
        return terms

    def assertion(self) -> str:
        for sign, python in (("^", "^"), ("$", r"\Z"), (r"\b", r"\b"), (r"\B", r"\B")):
            if self.take(sign):
                return python
        for sign in ("(?=", "(?!"):
            if self.take(sign):
                return f"{sign}{self.closing()})"
        return ""

    def closing(self) -> str:
        inner = self.disjunction()
        if not self.take(")"):
            raise self.error("missing )")
        return inner

    def atom(self) -> str:
        if self.take("(?:"):
            return f"(?:{self.closing()})"
        if self.peek("(?"):
            raise self.error("only (?: (?= (?! may follow an opening parenthesis")
        if self.take("("):
            self.opened += 1
            number = self.opened
            inner = self.closing()
            self.closed.add(number)
            return f"({inner})"
        if self.take("."):
            return r"[^\n\r]"
        if self.take("["):
            return self.bracket()
        if self.take("\\"):
            return self.escape()
        return re.escape(self.next("an atom is missing"))

    def quantified(self, atom: str) -> str:
        while self.at < len(self.pattern) and self.pattern[self.at] in "*+?{":
            interval = _INTERVAL.match(self.pattern, self.at)
            if not interval and self.peek("{"):
                raise self.error("{ must open {n}, {n,} or {n,m}")
            quantifier = interval[0] if interval else self.pattern[self.at]
            self.at += len(quantifier)
            atom = f"(?:{atom}){quantifier}{'?' * self.take('?')}"
        return atom

    def escape(self) -> str:
        char = self.next(r"a lone \ ends the pattern")
        if char in "dDsSwW":
            return f"\\{char}"
        if char in "123456789":
            while self.at < len(self.pattern) and self.pattern[self.at] in "0123456789":
                char += self.next("")
            if int(char) not in self.closed:
                raise self.error(f"\\{char} refers to no closed group")
            return f"(?:\\{char})"
        return self.literal_escape(char)

    def literal_escape(self, char: str) -> str:
        if char in _CONTROL_ESCAPES:
            return _CONTROL_ESCAPES[char]
        if char == "c":
            return re.escape(self.next(r"\c needs a character"))
        if char in "xu":
            digits = self.pattern[self.at : self.at + (2 if char == "x" else 4)]
            if not re.fullmatch(r"[0-9a-fA-F]{2}|[0-9a-fA-F]{4}", digits) or len(digits) != (2 if char == "x" else 4):
                raise self.error(f"\\{char} needs hexadecimal digits")
            self.at += len(digits)
            return f"\\u{int(digits, 16):04x}"
        return re.escape(char)

    def bracket(self) -> str:
        negated = self.take("^")
        inner = ""
        while not self.take("]"):
            char = self.next("missing ]")
            if char == "[" and self.pattern[self.at : self.at + 1] in (":", ".", "="):
                inner += self.named_class(self.next(""))
            elif char == "\\":
                inner += self.bracket_escape(self.next("missing ]"))
            else:
                inner += char if char == "-" else re.escape(char)
        if not inner:
            return r"[\s\S]" if negated else r"(?!)"
        return f"[{'^' * negated}{inner}]"

    def bracket_escape(self, char: str) -> str:
        if char in "dDsSwW":
            return f"\\{char}"
        return r"\x08" if char == "b" else self.literal_escape(char)

    def named_class(self, kind: str) -> str:
        end = self.pattern.find(f"{kind}]", self.at)
        if end < 0:
            raise self.error(f"missing {kind}]")
        name, self.at = self.pattern[self.at : end], end + 2
        if kind == ":":
            if name not in _CLASSES:
                raise self.error(f"[:{name}:] is no character class")
            return _CLASSES[name]
        if len(name) != 1:
            raise self.error(f"[{kind}{name}{kind}] is no single character")
        return re.escape(name)
