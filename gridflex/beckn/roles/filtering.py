"""Filter expressions of ``discover``, in the two dialects that are about under one name.

RFC 9535: ``$[?(@.rating.value >= 4)]``; SQL/JSON path, which the published examples use:
``$.catalogs[*] ? (@.provider.id == 'x' && exists(@.resources))``. Both are one filter over the
catalogues. A comparison with several values holds if it holds for one; values of different kinds
never compare; instants compare as their text. What neither dialect has is refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gridflex.beckn.wire.errors import BecknError, Code

Values = list[Any]
Predicate = Callable[[Any], bool]

LONGEST: Final = 4_096
DEEPEST: Final = 32
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<op>==|!=|<>|<=|>=|<|>)
      | (?P<logic>&&|\|\||!)
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<mark>[@$.\[\]()?*])
    )""",
    re.VERBOSE,
)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def parse_filter(expression: str) -> Predicate:
    """Return what an expression says about one item.

    Raises:
        BecknError: It is in neither dialect; says where.
    """
    return _Parser(_tokens(expression)).whole()


def _tokens(expression: str) -> list[_Token]:
    if len(expression) > LONGEST:
        raise _fault(f"longer than {LONGEST} characters")
    tokens, position = [], 0
    text = expression.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _fault(f"unexpected {text[position : position + 12]!r} at {position}")
        kind = str(found.lastgroup)
        tokens.append(_Token(kind, found[kind]))
        position = found.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Predicate:
        self._need("$")
        while not self._is("?") and not self._ahead("[", "?"):
            self._step()
        if self._take("["):
            self._need("?")
            predicate = self._either()
            self._need("]")
        else:
            self._need("?")
            self._need("(")
            predicate = self._either()
            self._need(")")
        if self._at < len(self._tokens):
            raise self._unexpected()
        return predicate

    def _either(self) -> Predicate:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def _both(self) -> Predicate:
        parts = [self._one()]
        while self._take("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)

    def _one(self) -> Predicate:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _fault(f"nested deeper than {DEEPEST}")
        predicate = self._primary()
        self._depth -= 1
        return predicate

    def _primary(self) -> Predicate:
        if self._take("!"):
            inner = self._one()
            return lambda item: not inner(item)
        if self._take("("):
            inner = self._either()
            self._need(")")
            return inner
        if self._is("exists"):
            self._at += 1
            self._need("(")
            path = self._operand()
            self._need(")")
            return lambda item: bool(path(item))
        return self._comparison()

    def _comparison(self) -> Predicate:
        left = self._operand()
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != "op":
            return lambda item: bool(left(item))
        compare = _COMPARE[self._tokens[self._at].text]
        self._at += 1
        right = self._operand()
        return lambda item: any(
            _alike(a, b) and compare(a, b) for a in left(item) for b in right(item)
        )

    def _operand(self) -> Callable[[Any], Values]:
        if self._take("@") or self._take("$"):
            return self._path()
        token = self._next()
        if token.kind == "string":
            value: Any = re.sub(r"\\(.)", r"\1", token.text[1:-1])
        elif token.kind == "number":
            value = float(token.text)
        elif token.text in _WORDS:
            value = _WORDS[token.text]
        else:
            self._at -= 1
            raise self._unexpected()
        return lambda _item: [value]

    def _path(self) -> Callable[[Any], Values]:
        steps = []
        while self._is(".") or (self._is("[") and not self._ahead("[", "?")):
            steps.append(self._step())

        def follow(item: Any) -> Values:  # noqa: ANN401 - JSON
            values = [item]
            for step in steps:
                values = [below for value in values for below in step(value)]
            return values

        return follow

    def _step(self) -> Callable[[Any], Values]:
        if self._take("."):
            if self._take("*"):
                return _children
            token = self._next()
            if token.kind not in {"word", "string"}:
                self._at -= 1
                raise self._unexpected()
            return _member(token.text.strip("'\""))
        self._need("[")
        if self._take("*"):
            self._need("]")
            return _elements
        token = self._next()
        self._need("]")
        if token.kind == "string":
            return _member(token.text[1:-1])
        if token.kind == "number" and token.text.isdigit():
            return _element(int(token.text))
        raise _fault(f"unexpected {token.text!r} in brackets")

    def _is(self, text: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].text == text

    def _ahead(self, *texts: str) -> bool:
        ahead = self._tokens[self._at : self._at + len(texts)]
        return tuple(token.text for token in ahead) == texts

    def _take(self, text: str) -> bool:
        if not self._is(text):
            return False
        self._at += 1
        return True

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(f", expected {text!r}")

    def _next(self) -> _Token:
        if self._at >= len(self._tokens):
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1]

    def _unexpected(self, more: str = "") -> BecknError:
        here = self._tokens[self._at].text if self._at < len(self._tokens) else "the end"
        return _fault(f"unexpected {here!r} at token {self._at}{more}")


def _member(name: str) -> Callable[[Any], Values]:
    def step(value: Any) -> Values:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return [value[name]] if name in value else []
        if isinstance(value, list):  # lax: members of the elements
            return [one[name] for one in value if isinstance(one, dict) and name in one]
        return []

    return step


def _element(index: int) -> Callable[[Any], Values]:
    def step(value: Any) -> Values:  # noqa: ANN401 - JSON
        return [value[index]] if isinstance(value, list) and index < len(value) else []

    return step


def _elements(value: Any) -> Values:  # noqa: ANN401 - JSON
    return value if isinstance(value, list) else [value]


def _children(value: Any) -> Values:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _alike(left: Any, right: Any) -> bool:  # noqa: ANN401 - JSON
    def is_number(value: Any) -> bool:  # noqa: ANN401 - JSON
        return isinstance(value, int | float) and not isinstance(value, bool)

    if is_number(left) and is_number(right):
        return True
    return isinstance(left, str) and isinstance(right, str)


def _fault(reason: str) -> BecknError:
    return BecknError(
        Code.SCH_INVALID_JSONPATH,
        f"filters.expression: {reason}",
        path="$.message.intent.filters.expression",
    )
