"""Lets the noise meter's machine code run on a VM with 64-bit integers.

There viper does not sign-extend a 32-bit load, as every board does. The modules' own text is
compiled with the sign put in, and takes their place; nothing else differs.
"""

import re
import sys

_LOADS = (
    (re.compile(r"int\((\w+\[[^\]]+\])\)"), "int((\\1 ^ 0x80000000) - 0x80000000)"),
    (re.compile(r"= (p\[\d\])"), "= ((\\1 ^ 0x80000000) - 0x80000000)"),
)
_MODULES = ("kernel", "spectrum_kernel")


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


def _text(path):
    for folder in sys.path:
        try:
            with open(folder + path) as file:
                return file.read()
        except OSError:
            continue
    return None


def install():
    """Replace the modules, where integers are wide and they are there as text."""
    if sys.maxsize <= 0x7FFFFFFF:
        return
    import firmware.noise

    for short in _MODULES:
        name = "firmware.noise." + short
        text = _text("/firmware/noise/" + short + ".py")
        if name in sys.modules or text is None:
            continue
        names = {"__name__": name}
        exec(widened(text), names)  # noqa: S102 - the board's own file
        module = _Module()
        for key in names:
            setattr(module, key, names[key])
        sys.modules[name] = module
        setattr(firmware.noise, short, module)
