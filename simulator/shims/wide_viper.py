"""Lets the noise meter's kernel run on a VM with 64-bit integers.

There viper does not sign-extend a 32-bit load, as every board does. The kernel's own text is
compiled with the sign put in, and takes its place; nothing else differs.
"""

import re
import sys

_LOADS = (
    (re.compile(r"int\((state\[[^\]]+\])\)"), "int((\\1 ^ 0x80000000) - 0x80000000)"),
    (re.compile(r"= (p\[\d\])"), "= ((\\1 ^ 0x80000000) - 0x80000000)"),
)
_MODULE = "firmware.noise.kernel"


class _Module:
    """Holds a module's names; MicroPython makes no modules at run time."""


def widened(text):
    """The kernel's text with every signed 32-bit load sign-extended."""
    lines = []
    for line in text.split("\n"):
        for pattern, replacement in _LOADS:
            line = pattern.sub(replacement, line)
        lines.append(line)
    return "\n".join(lines)


def _text():
    path = "/" + _MODULE.replace(".", "/") + ".py"
    for folder in sys.path:
        try:
            with open(folder + path) as file:
                return file.read()
        except OSError:
            continue
    return None


def install():
    """Replace the kernel, where integers are wide and it is there as text."""
    if sys.maxsize <= 0x7FFFFFFF or _MODULE in sys.modules:
        return
    text = _text()
    if text is None:
        return
    import firmware.noise

    names = {"__name__": _MODULE}
    exec(widened(text), names)  # noqa: S102 - the board's own file
    module = _Module()
    for key in names:
        setattr(module, key, names[key])
    sys.modules[_MODULE] = module
    firmware.noise.kernel = module
