"""Certificates for one session, so that whatever its nodes say to each other is encrypted (`launch.tls`).

The head makes an authority when it starts. Every node, the head too, has it sign a certificate for its own address, and takes no
other node's without the authority's signature: TLS is mutual, as Ray does it. The authority's key goes to the nodes as the
session's token does, through the standard input of their processes, and is in the memory of node processes only; key and
certificate of a node are files of mode 600 in its private directory. Everything ends with the session.

The times in a certificate allow for clocks that differ: it is valid from a day before it was made.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from raythena.domain.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

_EARLIER = datetime.timedelta(days=1)
_LIFE = datetime.timedelta(days=90)
"""No allocation is longer."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs the certificates of a session; both in PEM. Holding the key is being part of the session."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Authority(...)"


def check_available() -> None:
    """Raise InvalidInput where certificates cannot be made."""
    try:
        import cryptography  # noqa: F401
    except ImportError as problem:
        raise InvalidInput(
            "settings", "launch.tls", f"needs a package: {problem}", expected="cryptography", hint='pip install "raythena[tls]"'
        ) from problem


def new_authority() -> Authority:
    """An authority that nobody else has."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import BasicConstraints, random_serial_number

    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("raythena session").issuer_name(_name("raythena session")).public_key(key.public_key())
    builder = builder.serial_number(random_serial_number())
    builder = builder.add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(_pem_of(builder.sign(key, hashes.SHA256())), _key_pem(key))


def tls_environment(authority: Authority, directory: Path, address: str) -> dict[str, str]:
    """Variables of Ray's with which the processes of a node at this address talk to those of others; writes what they name.

    Raises OSError.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import (
        DNSName,
        IPAddress,
        SubjectAlternativeName,
        load_pem_x509_certificate,
        random_serial_number,
    )

    issuer = load_pem_x509_certificate(authority.certificate.encode())
    signing = serialization.load_pem_private_key(authority.key.encode(), None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise InvalidInput("launch.tls", "", "the session's authority has a key of another kind", expected="an elliptic curve")
    key = ec.generate_private_key(ec.SECP256R1())
    addresses = [IPAddress(ipaddress.ip_address(each)) for each in dict.fromkeys((address, *own_addresses()))]
    builder = _builder(address).issuer_name(issuer.subject).public_key(key.public_key())
    builder = builder.serial_number(random_serial_number())
    builder = builder.add_extension(SubjectAlternativeName([*addresses, DNSName("localhost")]), critical=False)
    texts = {
        "RAY_TLS_CA_CERT": ("authority.pem", authority.certificate),
        "RAY_TLS_SERVER_CERT": ("node.pem", _pem_of(builder.sign(signing, hashes.SHA256()))),
        "RAY_TLS_SERVER_KEY": ("node.key", _key_pem(key)),
    }
    found = {"RAY_USE_TLS": "1"}
    for name, (file, text) in texts.items():
        path = directory / file
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text)
        found[name] = str(path)
    return found


def own_addresses() -> list[str]:
    """Every IPv4 address of this machine. Ray may know it by another one than we do: for loopback it takes the outward one."""
    entries = [entry for each in psutil.net_if_addrs().values() for entry in each]
    return [entry.address for entry in entries if entry.family == socket.AF_INET]


def _name(text: str) -> Name:
    from cryptography.x509 import Name, NameAttribute
    from cryptography.x509.oid import NameOID

    return Name([NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(name: str) -> CertificateBuilder:
    from cryptography.x509 import CertificateBuilder

    now = datetime.datetime.now(datetime.UTC)
    return CertificateBuilder().subject_name(_name(name)).not_valid_before(now - _EARLIER).not_valid_after(now + _LIFE)


def _pem_of(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    pem: bytes = certificate.public_bytes(Encoding.PEM)
    return pem.decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()
