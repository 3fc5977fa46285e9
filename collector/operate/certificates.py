"""A certificate authority of one's own for the broker, and the server certificate it signs."""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collector.private_file import write_bytes

CA_DAYS = 7_300
SERVER_DAYS = 3_650
RENEW_DAYS = 365
CLOCK_DAYS = 2
"""A certificate is valid from this long ago: a board or a Pi may lag behind."""

RESTORE = "restore it from a backup; a new one would have to be given to every board"
Names = Sequence[x509.DNSName | x509.IPAddress]


def renew_certificates(folder: Path, hosts: Iterable[str]) -> list[str]:
    """Makes the authority once, and a server certificate when hosts or time ask for it.

    Returns the names of the files that changed: ca.key, ca.crt, server.key, server.crt.
    """
    changed: list[str] = []
    if not (folder / "ca.key").exists():
        _make_authority(folder)
        changed += ["ca.key", "ca.crt"]
    names = alternative_names(hosts)
    server = folder / "server.crt"
    if not server.exists() or changed or is_stale(server, names):
        _make_server(folder, names)
        changed += ["server.key", "server.crt"]
    return changed


def alternative_names(hosts: Iterable[str]) -> Names:
    """Host names and addresses as certificates hold them."""
    names: list[x509.DNSName | x509.IPAddress] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def names_held(folder: Path) -> tuple[str, ...]:
    """Host names and addresses of the server certificate in a folder; () without one."""
    try:
        certificate = _certificate(folder / "server.crt")
    except FileNotFoundError:
        return ()
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in held)


def is_stale(path: Path, names: Names) -> bool:
    """Whether a certificate ends within a year, or holds other names than these."""
    certificate = _certificate(path)
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ends_soon = certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=RENEW_DAYS)
    return ends_soon or list(held) != list(names)


def _certificate(path: Path) -> x509.Certificate:
    """The certificate of a file; ValueError with what to do when it holds none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        remedy = RESTORE if path.name == "ca.crt" else "remove it, and run this again with --host"
        raise ValueError(f"{path}: damaged; {remedy}") from None


def ascii_name(host: str) -> str:
    """A host name as certificates and the DNS spell it; ValueError when it has no such form."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{host!r} is no host name") from None


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("OSN broker authority")
    builder = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    _write_key(folder / "ca.key", key, 0o600)
    _write_certificate(folder / "ca.crt", builder.sign(key, hashes.SHA256()))


def _make_server(folder: Path, names: Names) -> None:
    authority = _certificate(folder / "ca.crt")
    try:
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (TypeError, ValueError):
        raise ValueError(f"{folder / 'ca.key'}: damaged; {RESTORE}") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder / 'ca.key'}: not a key of this program; move it away")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(str(names[0].value)), authority.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    _write_key(folder / "server.key", key, 0o640)
    _write_certificate(folder / "server.crt", builder.sign(signer, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=CLOCK_DAYS))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, mode: int) -> None:
    raw = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_bytes(path, raw, mode)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    write_bytes(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
