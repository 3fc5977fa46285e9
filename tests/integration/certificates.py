"""A certificate authority for tests: brokers of localhost with TLS."""

import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firmware.version import BUILT_S


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


class ShiftingBroker:
    """TLS before a broker, with a certificate that fits the clock that a board writes into a file.

    The VM's TLS goes by this machine's clock. So the certificate that a board gets is as far from
    this machine's time as the true one is from the board's: valid from 100 to 160 days after the
    firmware was built.
    """

    FIRST_S = BUILT_S + 100 * 86_400
    LAST_S = BUILT_S + 160 * 86_400

    def __init__(self, folder: Path, clock: Path, broker: int) -> None:
        self._folder = folder
        self._clock = clock
        self._broker = broker
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        now = datetime.datetime.now(datetime.UTC)
        years = datetime.timedelta(days=40 * 365)
        self.der = self._sign(
            self._name, self._key, now - years, now + years, ca=True
        ).public_bytes(serialization.Encoding.DER)

    def __enter__(self) -> "ShiftingBroker":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, ValueError):
                secure = self._context().wrap_socket(plain, server_side=True)
                broker = socket.create_connection(("127.0.0.1", self._broker))
                for source, target in ((secure, broker), (broker, secure)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()

    def _context(self) -> ssl.SSLContext:
        """With a certificate that was made for the board's clock. Raises ValueError without one."""
        now = datetime.datetime.now(datetime.UTC)
        shift = now - datetime.datetime.fromtimestamp(int(self._clock.read_text()), datetime.UTC)
        first = datetime.datetime.fromtimestamp(self.FIRST_S, datetime.UTC) + shift
        last = datetime.datetime.fromtimestamp(self.LAST_S, datetime.UTC) + shift
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(subject, key, first, last, ca=False)
        pem = serialization.Encoding.PEM
        chain = self._folder / "shifted.pem"
        chain.write_bytes(
            certificate.public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        first: datetime.datetime,
        last: datetime.datetime,
        *,
        ca: bool,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(first)
            .not_valid_after(last)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until either end goes."""
    with contextlib.suppress(OSError), source, target:
        while data := source.recv(65_536):
            target.sendall(data)
