"""Names that cost a board nothing: every MicroPython has them in its own image.

They are of the list that the format of .mpy files fixes. Left out are names that C code looks for
in an object (those of streams, generators and mappings), those of exceptions, and those that the
compiler takes for more than a name: const, range, super and the types of viper.
"""

import keyword
import string
from collections.abc import Collection, Iterator

_WORDS = """
    abs all any append bytearray bytecode bytes callable chr classmethod clear copy dict dir divmod
    endswith eval exec extend find format getattr globals hasattr hash index insert isalpha isdigit
    isinstance islower isspace issubclass isupper iter join len list little locals lower lstrip map
    ord pop popitem pow print remove replace repr reverse rfind rindex round rsplit rstrip set
    setattr setdefault sort sorted split startswith staticmethod stop str strip sum to_bytes tuple
    type update upper zip
"""


def short_names(taken: Collection[str], turned: bool = False) -> Iterator[str]:
    """Names without those taken: first the words that cost nothing, then letters.

    turned begins with the last word, so that two kinds of names seldom share one.
    """
    words = _WORDS.split()
    yield from (word for word in (reversed(words) if turned else words) if word not in taken)
    for first in ("", *string.ascii_lowercase):
        for last in string.ascii_lowercase:
            if first + last not in taken and not keyword.iskeyword(first + last):
                yield first + last
