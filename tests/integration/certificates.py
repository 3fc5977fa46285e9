"""A certificate authority for tests: brokers of localhost with TLS."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Makes a CA and a server certificate for localhost below a folder.

    The server's is valid from starts_in_days on.
    """

    def __init__(self, folder: Path, starts_in_days: int = -1) -> None:
        self._folder = folder
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        ca = self._certificate(name, name, key, key, -1, authority=True)
        self.der = ca.public_bytes(serialization.Encoding.DER)
        server = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = self._certificate(subject, name, server, key, starts_in_days, authority=False)
        self._write("ca.pem", ca.public_bytes(serialization.Encoding.PEM))
        self._write("server.pem", certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pkcs8 = serialization.PrivateFormat.PKCS8
        pem = serialization.Encoding.PEM
        self._write("server.key", server.private_bytes(pem, pkcs8, plain))
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))

    def mosquitto(self) -> str:
        """Configuration of a mosquitto with TLS."""
        return (
            f"listener @PORT@ 127.0.0.1\nallow_anonymous true\n"
            f"certfile {self._folder}/server.pem\nkeyfile {self._folder}/server.key\n"
        )

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o644)

    @staticmethod
    def _certificate(
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        starts_in_days: int,
        *,
        authority: bool,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=starts_in_days))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(signer, hashes.SHA256())
        )
