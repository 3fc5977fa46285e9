"""Any declaration of the schema walked over bytes: every field with its place, and every fault.

Parsing gives a value or an error. This gives all fields up to an error, and goes on behind it
wherever a length before says where that is. Fields are read by the declarations themselves; here
is only how they lie in one another.
"""

from io import BytesIO
from typing import Any, NamedTuple

from construct import (
    Array,
    Check,
    Const,
    ConstructError,
    Container,
    FixedSized,
    FocusedSeq,
    GreedyRange,
    IfThenElse,
    Prefixed,
    Rebuild,
    Renamed,
    StreamError,
    Struct,
    Switch,
    Terminated,
)

Path = tuple[str, ...]
EACH = "*"
"""In a path: one of several alike."""


class Field(NamedTuple):
    """A value at raw[start:end]; beside holds the fields of its structure, by name."""

    start: int
    end: int
    path: Path
    value: Any
    beside: Any


class Fault(NamedTuple):
    """What is wrong at raw[start:]; the bytes up to end are in no field because of it."""

    start: int
    end: int
    path: Path
    words: str


Part = Field | Fault


class _Broken(Exception):
    """No more fields can be found within what encloses this one."""


def walk(declaration: Any, raw: bytes) -> list[Part]:
    """Fields and faults of raw in order: together they cover each byte once. Raises nothing.

    There is a fault exactly when the declaration refuses to parse these bytes.
    """
    steps = _Walk(raw)
    steps.within(len(raw), declaration, Container(), ())
    return steps.parts


class _Walk:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self._end = len(raw)
        self._faults = 0
        self.parts: list[Part] = []

    def within(self, end: int, declaration: Any, beside: Any, path: Path) -> Any:
        """The value of what ends at end, None for a damaged one; goes on behind it."""
        outer, self._end = self._end, end
        try:
            return self._take(declaration, beside, path)
        except _Broken:
            return None
        finally:
            if self._at < end:
                self._fault(path, "not explained", end)
            self._at, self._end = end, outer

    def _fault(self, path: Path, words: str, end: int | None = None) -> None:
        self._faults += 1
        self.parts.append(Fault(self._at, self._at if end is None else end, path, words))

    def _take(self, declaration: Any, beside: Any, path: Path, docs: str = "") -> Any:
        match declaration:
            case Renamed():
                inner = (*path, declaration.name) if declaration.name else path
                return self._take(declaration.subcon, beside, inner, declaration.docs)
            case Struct() | FocusedSeq():
                return self._structure(declaration, beside, path)
            case Array():
                count = _of(declaration.count, beside)
                one = (*path, EACH)
                return [self._take(declaration.subcon, beside, one) for _ in range(count)]
            case GreedyRange():
                found = []
                while self._at < self._end:
                    found.append(self._take(declaration.subcon, beside, (*path, EACH)))
                return found
            case IfThenElse():
                holds = _of(declaration.condfunc, beside)
                chosen = declaration.thensubcon if holds else declaration.elsesubcon
                return self._take(chosen, beside, path)
            case Switch():
                key = _of(declaration.keyfunc, beside)
                chosen = declaration.cases.get(key, declaration.default)
                return self._take(chosen, beside, path)
            case Prefixed():
                length = self._take(declaration.lengthfield, beside, (*path, "length"))
                return self._sized(length, declaration.subcon, beside, path)
            case FixedSized():
                length = _of(declaration.length, beside)
                return self._sized(length, declaration.subcon, beside, path)
            case Const():
                value = self._take(declaration.subcon, beside, path)
                if value != declaration.value:
                    self._fault(path, f"should be {declaration.value:#x}")
                return value
            case Rebuild():
                return self._take(declaration.subcon, beside, path)
            case Check():
                return self._check(declaration, beside, path, docs)
            case _ if declaration is Terminated:
                if self._at < self._end:
                    self._fault(path, "more than there may be", self._end)
                    self._at = self._end
                return None
        return self._leaf(declaration, beside, path)

    def _structure(self, declaration: Any, beside: Any, path: Path) -> Any:
        fields = Container(_=beside)
        focus = getattr(declaration, "parsebuildfrom", None)
        for part in declaration.subcons:
            # What a sequence stands for goes by the sequence's name.
            inner = part.subcon if part.name and part.name == focus else part
            value = self._take(inner, fields, path)
            if part.name:
                fields[part.name] = value
        return fields[focus] if focus else fields

    def _sized(self, length: int, declaration: Any, beside: Any, path: Path) -> Any:
        there = self._end - self._at
        if length > there:
            self._fault(path, f"{length} bytes are announced, {there} are there")
        return self.within(self._at + min(length, there), declaration, beside, path)

    def _check(self, declaration: Any, beside: Any, path: Path, docs: str) -> None:
        try:
            holds = _of(declaration.func, beside)
        except (AttributeError, TypeError):
            if not self._faults:
                raise
            return  # it looks at something that is damaged, which has its own fault
        if not holds:
            self._fault(path, docs or "contradicts what stands before")

    def _leaf(self, declaration: Any, beside: Any, path: Path) -> Any:
        stream = BytesIO(self._raw[self._at : self._end])
        known = {name: value for name, value in beside.items() if not name.startswith("_")}
        try:
            value = declaration.parse_stream(stream, **known)
        except StreamError:
            self._fault(path, "the bytes end within this field")
            raise _Broken from None
        except ConstructError as error:
            self._fault(path, str(error).splitlines()[-1])
            raise _Broken from None
        start, self._at = self._at, self._at + stream.tell()
        # Of what is left out there are no bytes and no value; an empty text has a value.
        if value is not None:
            self.parts.append(Field(start, self._at, path, value, beside))
        return value


def _of(what: Any, beside: Any) -> Any:
    """A number, or what an expression over the fields before makes of them."""
    return what(beside) if callable(what) else what
