"""Images of a slot's files in MicroPython's ROMFS format, from which boards run them in place."""

from collections.abc import Mapping, Sequence

from mpremote.romfs import VfsRomWriter


def image(files: Mapping[str, bytes], entry: str) -> bytes:
    """An image of files by path; the entry (named without its suffix) comes last in it.

    What is unpacked up to its end has been unpacked whole. Raises ValueError unless there is
    one entry.
    """
    entries = [path for path in files if path.rsplit(".", 1)[0] == entry]
    if len(entries) != 1:
        raise ValueError(f"an image needs one {entry}")
    writer = VfsRomWriter()
    _write(writer, {tuple(path.split("/")): files[path] for path in files}, entries[0].split("/"))
    made: bytes = writer.finalise()
    return made


def _write(
    writer: VfsRomWriter, files: Mapping[tuple[str, ...], bytes], last: Sequence[str]
) -> None:
    """Write one folder; last is the path below it that comes at its end, or nothing."""
    end = last[0] if last else ""
    for name in sorted({path[0] for path in files}, key=lambda name: (name == end, name)):
        inside = {path[1:]: content for path, content in files.items() if path[0] == name}
        if () in inside:
            writer.mkfile(name, inside[()])
        else:
            writer.opendir(name)
            _write(writer, inside, last[1:] if name == end else ())
            writer.closedir()
