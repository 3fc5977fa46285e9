"""What a node may be called: the same rule where it is named, provisioned and imported."""

NAME_CHARACTERS_MAX = 80
FORMULA_STARTS = "=+-@＝＋－＠"
"""With these a spreadsheet begins a formula."""
REPLACEMENT = "\ufffd"


def name_fault(name: str) -> str:
    """What is wrong with a name, "" when it can be one; an empty one is for the caller to judge."""
    if len(name) > NAME_CHARACTERS_MAX:
        return f"longer than {NAME_CHARACTERS_MAX} characters"
    if not name.isprintable() or REPLACEMENT in name:
        return "holds a character that cannot be printed"
    if name.lstrip()[:1] and name.lstrip()[0] in FORMULA_STARTS:
        return f"begins with {name.lstrip()[0]}, which spreadsheets take for a formula"
    return ""


def legible(name: str) -> str:
    """The name with what cannot be printed replaced."""
    return "".join(character if character.isprintable() else REPLACEMENT for character in name)
