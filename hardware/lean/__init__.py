"""Leaner sources for boards: the same program with fewer names, for less heap and flash.

A board keeps every name that it meets and an entry for every member of a module. So numbers take
the place of constants, what nobody uses goes, and names that nobody outside sees become short
ones that serve again and again.
Every statement stays on its line, so tracebacks name the lines of the sources.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hardware.lean import layout, names, strip
from hardware.lean.constants import inline
from hardware.lean.program import Module, Outside, Program, dotted
from hardware.lean.tops import Tops, rename_uses
from hardware.lean.unused import sweep, sweep_client

__all__ = ("Lean", "Outside", "dotted", "lean", "read_back")


@dataclass(frozen=True, slots=True)
class Lean:
    """Sources by path, and for each path what its short names stand for."""

    sources: Mapping[str, str]
    names: Mapping[str, Mapping[str, str]]
    program: Program
    tops: Tops

    def client(self, source: str) -> str:
        """A script's source as this program wants it: its constants, and its short names."""
        module = Module("", strip.parse(source))
        inline(self.program, [module])
        sweep_client(self.program, module)
        rename_uses(module, self.tops)
        return layout.unparse(module.tree)


def lean(sources: Mapping[str, str], outside: Outside, kept: Iterable[str] = ()) -> Lean:
    """The leaner sources of a whole program, by path; kept are paths that come out unchanged.

    outside tells what else uses the program's names. Raises SyntaxError for a bad source.
    """
    unchanged = frozenset(kept)
    program = Program(
        {path: Module(dotted(path), strip.parse(text)) for path, text in sources.items()},
        outside,
    )
    inline(program, program.modules.values())
    sweep(program, unchanged)
    given, tops = names.shorten(program, unchanged)
    return Lean(
        {
            path: text if path in unchanged else layout.unparse(program.modules[path].tree)
            for path, text in sources.items()
        },
        given,
        program,
        tops,
    )


def read_back(names_by_path: Mapping[str, Mapping[str, str]], traceback: str) -> str:
    """A board's traceback with the names of the sources behind the short ones.

    names_by_path as in Lean.names; a board's traceback names modules, not paths.
    """
    names_by_module = {dotted(path): names for path, names in names_by_path.items()}
    lines = []
    for line in traceback.splitlines():
        head, separator, short = line.rpartition(", in ")
        module = head.partition('"')[2].partition('"')[0]
        known = names_by_module.get(module, {}) if separator else {}
        long = [name for each, name in known.items() if each.rpartition(".")[2] == short]
        lines.append(f"{line} ({' or '.join(long)})" if long else line)
    return "\n".join(lines)
