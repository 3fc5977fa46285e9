"""Lets code written for MicroPython's viper be read by CPython, where it runs as plain Python."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Function = TypeVar("Function")

    ptr8 = Any
    ptr16 = Any
    ptr32 = Any
else:
    ptr8 = ptr16 = ptr32 = object


def viper(function: "Function") -> "Function":
    """Leave the function as it is."""
    return function


def const(value: int) -> int:
    """Leave the value as it is."""
    return value
