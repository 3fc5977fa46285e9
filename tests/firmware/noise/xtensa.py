"""Executes what mpy-cross emits for xtensawin: the windowed Xtensa, as far as viper uses it.

Instructions are counted exactly. Cycles are a model: one an instruction, and stalls for the use of
a value just loaded or multiplied, and for taken branches; the figures of `Stalls` are assumptions.
Source: Xtensa Instruction Set Architecture Reference Manual (Cadence), chapters 3 and 6.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MASK = 0xFFFFFFFF
CODE = 0x1_0000
DATA = 0x2_0000
ARGUMENTS = 0xE_0000
STACK = 0xF_0000
MEMORY_BYTES = 1 << 20
INSTRUCTIONS_MAX = 50_000_000
_B4CONST = (-1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256)


class IllegalInstruction(Exception):
    """The program uses an instruction that this interpreter does not know."""


def signed(value: int, bits: int = 32) -> int:
    """The lowest bits of value as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass(frozen=True)
class Stalls:
    """Cycles lost in the pipeline (assumed): use after load, use after multiply, taken branch."""

    load: int = 1
    multiply: int = 1
    branch: int = 2


@dataclass
class Machine:
    """One core with 1 MiB of memory; call() runs a viper function."""

    code: bytes
    stalls: Stalls = field(default_factory=Stalls)

    def __post_init__(self) -> None:
        self.memory = bytearray(MEMORY_BYTES)
        self.memory[CODE : CODE + len(self.code)] = self.code
        self.registers = [0] * 16
        self.shift_amount = 0
        self.counter = 0
        self.instructions = 0
        self.cycles = 0
        self.mix: Counter[str] = Counter()
        self._ready = [0] * 16
        self._ended = False
        self._next = 0

    # --- memory ---

    def load(self, address: int, size: int = 4) -> int:
        """An unsigned little-endian number."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def store(self, address: int, value: int, size: int = 4) -> None:
        """The lowest bytes of value, little-endian."""
        value &= (1 << 8 * size) - 1
        self.memory[address : address + size] = value.to_bytes(size, "little")

    # --- running ---

    def call(self, *arguments: int) -> int:
        """Call the function with native arguments (numbers and addresses); its result.

        MicroPython's calling convention: a2 function object, a3 count, a4 keywords, a5 arguments.
        The only calls it makes are those that convert an argument, which are left as they are.
        """
        for place, value in enumerate(arguments):
            self.store(ARGUMENTS + 4 * place, value)
        self.registers[:] = [0, STACK, STACK - 0x1000, len(arguments), 0, ARGUMENTS, *[0] * 10]
        self.counter = CODE
        self._ended = False
        limit = self.instructions + INSTRUCTIONS_MAX
        while not self._ended:
            self.step()
            if self.instructions > limit:
                raise RuntimeError("the program does not end")
        return self.registers[2]

    def step(self) -> None:
        """Execute one instruction."""
        word = self.load(self.counter, 3)
        operation = word & 15
        if operation >= 14:
            raise IllegalInstruction(f"{word:06x} at {self.counter - CODE}")
        self._next = self.counter + (2 if operation >= 8 else 3)
        fallthrough = self._next
        self.instructions += 1
        name = self._execute[operation](self, word)
        self.mix[name] += 1
        self.cycles += 1
        if self._next != fallthrough:
            self.cycles += self.stalls.branch
        self.counter = self._next

    def _use(self, *registers: int) -> None:
        for register in registers:
            self.cycles = max(self.cycles, self._ready[register])

    def _set(self, register: int, value: int, latency: int = 0) -> None:
        self.registers[register] = value & MASK
        self._ready[register] = self.cycles + 1 + latency

    def _illegal(self, word: int) -> str:
        raise IllegalInstruction(f"{word:06x} at {self.counter - CODE}")

    # --- instruction formats; t, s, r are the three register fields ---

    def _rrr(self, word: int) -> str:
        t, s, r = word >> 4 & 15, word >> 8 & 15, word >> 12 & 15
        first, second = word >> 16 & 15, word >> 20
        if first == 0:
            return self._arithmetic(word, second, t, s, r)
        if first == 1:
            return self._shift(word, second, t, s, r)
        if first == 2 and second == 8:
            self._use(s, t)
            self._set(r, self.registers[s] * self.registers[t], self.stalls.multiply)
            return "mull"
        return self._illegal(word)

    def _arithmetic(self, word: int, second: int, t: int, s: int, r: int) -> str:
        a = self.registers
        if second == 0 and r == 0 and t == 14:
            return "callx8"
        if second == 0 and r == 2:
            return "nop"
        if second in (1, 2, 3):
            self._use(s, t)
            self._set(r, (a[s] & a[t], a[s] | a[t], a[s] ^ a[t])[second - 1])
            return ("and", "or", "xor")[second - 1]
        if second == 4 and r in (0, 1, 4):
            self._use(s if r < 4 else 0)
            amount = a[s] & 31
            self.shift_amount = (amount, 32 - amount, 0, 0, s | (t & 1) << 4)[r]
            return ("ssr", "ssl", "", "", "ssai")[r]
        if second == 6 and s < 2:
            self._use(t)
            self._set(r, abs(signed(a[t])) if s else -a[t])
            return "abs" if s else "neg"
        if second >= 8:
            self._use(s, t)
            scaled = a[s] << (second & 3)
            self._set(r, scaled - a[t] if second >= 12 else scaled + a[t])
            return "sub" if second >= 12 else "add"
        return self._illegal(word)

    def _shift(self, word: int, second: int, t: int, s: int, r: int) -> str:
        a = self.registers
        high = second & 1
        if second in (0, 1):
            self._use(s)
            self._set(r, a[s] << (32 - (t | high << 4)))
            return "slli"
        if second in (2, 3):
            self._use(t)
            self._set(r, signed(a[t]) >> (s | high << 4))
            return "srai"
        if second == 4:
            self._use(t)
            self._set(r, a[t] >> s)
            return "srli"
        if second == 9:
            self._use(t)
            self._set(r, a[t] >> self.shift_amount)
            return "srl"
        if second == 10:
            self._use(s)
            self._set(r, a[s] << (32 - self.shift_amount))
            return "sll"
        if second == 11:
            self._use(t)
            self._set(r, signed(a[t]) >> self.shift_amount)
            return "sra"
        return self._illegal(word)

    def _load_literal(self, word: int) -> str:
        offset = (word >> 8 & 0xFFFF | 0xFFFF0000) << 2
        address = ((self.counter + 3) & ~3) + offset & MASK
        self._set(word >> 4 & 15, self.load(address), self.stalls.load)
        return "l32r"

    def _rri8(self, word: int) -> str:
        t, s, r, immediate = word >> 4 & 15, word >> 8 & 15, word >> 12 & 15, word >> 16
        a = self.registers
        loads = {0: ("l8ui", 1), 1: ("l16ui", 2), 2: ("l32i", 4), 9: ("l16si", 2)}
        stores = {4: ("s8i", 1), 5: ("s16i", 2), 6: ("s32i", 4)}
        if r in loads:
            name, size = loads[r]
            self._use(s)
            value = self.load(a[s] + size * immediate, size)
            self._set(t, signed(value, 16) if r == 9 else value, self.stalls.load)
            return name
        if r in stores:
            name, size = stores[r]
            self._use(s, t)
            self.store(a[s] + size * immediate, a[t], size)
            return name
        if r == 10:
            self._set(t, signed(s << 8 | immediate, 12))
            return "movi"
        if r in (12, 13):
            self._use(s)
            self._set(t, a[s] + (signed(immediate, 8) << (8 if r == 13 else 0)))
            return "addi"
        return self._illegal(word)

    def _jump(self, word: int) -> str:
        kind, condition = word >> 4 & 3, word >> 6 & 3
        s = word >> 8 & 15
        if kind == 0:
            self._next = self.counter + 4 + signed(word >> 6, 18)
            return "j"
        if kind == 3 and condition == 0:
            return "entry"
        if kind == 3:
            return self._illegal(word)
        self._use(s)
        value = signed(self.registers[s])
        if kind == 1:
            other, offset, name = 0, signed(word >> 12, 12), "bz"
        else:
            other, offset, name = _B4CONST[word >> 12 & 15], signed(word >> 16, 8), "bi"
        if (value == other, value != other, value < other, value >= other)[condition]:
            self._next = self.counter + 4 + offset
        return name

    def _branch(self, word: int) -> str:
        t, s, r = word >> 4 & 15, word >> 8 & 15, word >> 12 & 15
        self._use(s, t)
        x, y = self.registers[s], self.registers[t]
        taken = {
            0: not x & y,
            1: x == y,
            2: signed(x) < signed(y),
            3: x < y,
            8: bool(x & y),
            9: x != y,
            10: signed(x) >= signed(y),
            11: x >= y,
        }
        if r not in taken:
            return self._illegal(word)
        if taken[r]:
            self._next = self.counter + 4 + signed(word >> 16, 8)
        return "bcc"

    # --- the short, 16-bit instructions ---

    def _l32i_n(self, word: int) -> str:
        self._use(word >> 8 & 15)
        address = self.registers[word >> 8 & 15] + 4 * (word >> 12 & 15)
        self._set(word >> 4 & 15, self.load(address), self.stalls.load)
        return "l32i"

    def _s32i_n(self, word: int) -> str:
        t, s = word >> 4 & 15, word >> 8 & 15
        self._use(s, t)
        self.store(self.registers[s] + 4 * (word >> 12 & 15), self.registers[t])
        return "s32i"

    def _add_n(self, word: int) -> str:
        t, s = word >> 4 & 15, word >> 8 & 15
        self._use(s, t)
        self._set(word >> 12 & 15, self.registers[s] + self.registers[t])
        return "add"

    def _addi_n(self, word: int) -> str:
        t, s = word >> 4 & 15, word >> 8 & 15
        self._use(s)
        self._set(word >> 12 & 15, self.registers[s] + (t or -1))
        return "addi"

    def _movi_n(self, word: int) -> str:
        t, s, r = word >> 4 & 15, word >> 8 & 15, word >> 12 & 15
        if t < 8:
            value = (t & 7) << 4 | r
            self._set(s, value - 128 if value >= 96 else value)
            return "movi"
        self._use(s)
        if (self.registers[s] == 0) != bool(t & 4):
            self._next = self.counter + 4 + ((t & 3) << 4 | r)
        return "bz"

    def _mov_n(self, word: int) -> str:
        t, s, r = word >> 4 & 15, word >> 8 & 15, word >> 12 & 15
        if r == 0:
            self._use(s)
            self._set(t, self.registers[s])
            return "mov"
        if r == 15 and t in (0, 1):
            self._ended = True
            return "retw"
        return self._illegal(word)

    _execute: "tuple[Callable[[Machine, int], str], ...]" = (
        _rrr, _load_literal, _rri8, _illegal, _illegal, _illegal, _jump, _branch,
        _l32i_n, _s32i_n, _add_n, _addi_n, _movi_n, _mov_n,
    )  # fmt: skip
