"""Faults that a sender can bring about again and again are not all written to the log."""


def is_worth_a_line(count: int) -> bool:
    """Whether the count-th fault of a kind is logged: the first, second, fourth, eighth, ..."""
    return count & (count - 1) == 0
