"""HTTP authentication of the MM7 door: Basic (RFC 7617) or Digest (RFC 7616, and RFC 2617 where it agrees)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from typing import Protocol

REALM = "mm7 sandbox"
#: A nonce older than this is answered ``stale=true`` (RFC 7616 section 3.3).
NONCE_LIFETIME_S = 300
#: Nonces remembered for their nonce counts; the oldest is forgotten, and is then stale.
MAX_NONCES = 10_000

_PARAMETER = re.compile(r'([a-zA-Z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class Authenticator(Protocol):
    """Decides on an Authorization header."""

    def challenge_for(self, authorization: str | None, *, method: str, target: str) -> str | None:
        """None when the credentials are right, otherwise the WWW-Authenticate header of the 401.

        :param authorization: value of the Authorization header, None when absent.
        :param method: HTTP method.
        :param target: request target, path and query as sent.
        """


#: Of Digest where none is set: its answer is a hash, so it cannot do with any credentials.
DEFAULT_LOGIN = "sandbox"


class BasicAuthenticator:
    """RFC 7617.

    :param login: that a client must present; empty: any credentials will do, but some must be there.
    :param password: its password.
    """

    def __init__(self, login: str, password: str) -> None:
        self._any = not login
        self._expected = f"{login}:{password}".encode()

    def challenge_for(self, authorization: str | None, *, method: str, target: str) -> str | None:
        """See :meth:`Authenticator.challenge_for`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                presented = base64.b64decode(token.strip(), validate=True)
            except (binascii.Error, ValueError):
                presented = b""
            if hmac.compare_digest(presented, self._expected) or (self._any and b":" in presented):
                return None
        return f'Basic realm="{REALM}", charset="UTF-8"'


class DigestAuthenticator:
    """RFC 7616 with ``qop=auth``: a nonce of ours, unexpired, and each nonce count once.

    Clients that send requests in parallel use their counts out of order, so a count need not grow, only be new.
    """

    def __init__(self, login: str, password: str, algorithm: str) -> None:
        self._login = login
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm]
        self._secret = self._digest(f"{login}:{REALM}:{password}")
        self._opaque = secrets.token_hex(8)
        self._nonces: OrderedDict[str, tuple[float, set[int]]] = OrderedDict()

    def challenge_for(self, authorization: str | None, *, method: str, target: str) -> str | None:
        """See :meth:`Authenticator.challenge_for`."""
        scheme, _, rest = (authorization or "").partition(" ")
        if scheme.lower() != "digest":
            return self._challenge()
        given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        if not self._is_right(given, method=method, target=target):
            return self._challenge()
        # RFC 7616 section 3.3: right response, nonce no longer good: the client repeats without asking its user.
        return None if self._take_count(given["nonce"], int(given["nc"], 16)) else self._challenge(stale=True)

    def _is_right(self, given: dict[str, str], *, method: str, target: str) -> bool:
        if given.get("username") != self._login or given.get("realm") != REALM or given.get("qop") != "auth":
            return False
        if given.get("algorithm", "MD5").upper() != self._algorithm or given.get("opaque") != self._opaque:
            return False
        # RFC 7616 section 3.4.6: the uri must be the request target's.
        if given.get("uri") != target or not re.fullmatch(r"[0-9a-fA-F]{8}", given.get("nc", "")):
            return False
        second = self._digest(f"{method}:{target}")
        parts = (self._secret, given.get("nonce", ""), given["nc"], given.get("cnonce", ""), "auth", second)
        return hmac.compare_digest(self._digest(":".join(parts)).encode(), given.get("response", "").lower().encode())

    def _take_count(self, nonce: str, count: int) -> bool:
        made_at, used = self._nonces.get(nonce, (0.0, set()))
        if not made_at or time.monotonic() - made_at > NONCE_LIFETIME_S or count in used:
            return False
        used.add(count)
        return True

    def _challenge(self, *, stale: bool = False) -> str:
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = (time.monotonic(), set())
        while len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        ending = ", stale=true" if stale else ""
        return (
            f'Digest realm="{REALM}", qop="auth", algorithm={self._algorithm}, '
            f'nonce="{nonce}", opaque="{self._opaque}"{ending}'
        )

    def _digest(self, text: str) -> str:
        return self._hash(text.encode()).hexdigest()


def make_authenticator(auth: str, login: str, password: str, digest_algorithm: str) -> Authenticator:
    """The authenticator that the settings ask for."""
    if auth == "digest":
        return DigestAuthenticator(login or DEFAULT_LOGIN, password, digest_algorithm)
    return BasicAuthenticator(login, password)
