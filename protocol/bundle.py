"""A firmware bundle from outside: how it begins, how large it may be, what is signed of it.

Numbers and short texts only: compiled for a board they stand where they are used, and nothing of
this module is left. Inside it is a ROMFS image: hardware/romfs.py writes it, firmware/bundle.py
takes it apart.

    bundle      MAGIC, architecture (length u8, text), version (length u8, text), image
    file        bundle, SIGNED, signature (SIGNATURE_BYTES, Ed25519)
    is signed   LABEL, bundle's length (u32), its SHA-256 (32 bytes), version (text)
"""

MAGIC = b"OSNB\x02"  # the last byte is the format's number
SIZE_MAX = 400_000  # bytes of a bundle
SIGNED = b"OSNS"
SIGNATURE_BYTES = 64
LABEL = b"osn-update-1"
WINDOW_BYTES = 4096  # a board asks again when it has these; nobody sends more unasked
