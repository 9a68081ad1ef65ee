"""Download a checkpoint: resumed, retried, verified, then taken into the cache at once.

While it runs, `FILE.part` holds what has arrived and `FILE.part.json` says what it is
part of; `FILE.lock` keeps a second process waiting; `FILE.sha256` pins the digest of
the first verified download. Proxies come from the environment, as urllib reads it.
"""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener

from filelock import FileLock, Timeout

from streamtrack.errors import CheckpointError
from streamtrack.tracking.registry import ModelEntry

Progress = Callable[[int, int | None], None]
"""Called with bytes done and bytes in all; None when the server does not say."""

_ATTEMPTS = 5  # in a row without a single byte; guess
_TIMEOUT_S = 30.0
_LOCK_TIMEOUT_S = 3600.0  # another process' download of 900 MB at 2 Mbit/s
_CHUNK_BYTES = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP statuses worth another try


class _Interrupted(Exception):
    """The transfer stopped for a reason that may pass."""


def ignore_progress(done: int, total: int | None) -> None:
    """Do nothing with the progress."""


def fetch(
    entry: ModelEntry,
    target: Path,
    *,
    check: Callable[[Path], None],
    progress: Progress = ignore_progress,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download a model's weights to `target`, or wait while another process does.

    Args:
        entry: the model; its url is not None.
        target: where the verified file goes.
        check: raises CheckpointError when the file is not the model's.
        progress: called after every piece.
        sleep: waits between attempts.

    Raises:
        CheckpointError: it cannot be had, or is not what it should be.
    """
    with _writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock", timeout=_LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except Timeout as exc:
            raise CheckpointError(
                f"Another process has been downloading {entry.name} for an hour; "
                "end it and try again."
            ) from exc
    try:
        if not target.is_file():
            _Download(entry, target, progress, sleep).run(check)
    finally:
        lock.release()


def verify_digest(path: Path, pinned: str | None) -> None:
    """Check a cached file against its pinned SHA-256, if one is known.

    Raises:
        CheckpointError: the file has changed or cannot be read.
    """
    expected = pinned or _recorded(path)
    if expected is not None and _digest(path) != expected:
        raise CheckpointError(
            f"{path} no longer has the SHA-256 it was downloaded with; delete it and download it "
            "again."
        )


class _Download:
    """One download in progress, from the lock's taking to its release."""

    def __init__(
        self,
        entry: ModelEntry,
        target: Path,
        progress: Progress,
        sleep: Callable[[float], None],
    ) -> None:
        assert entry.url is not None
        self._entry = entry
        self._url = entry.url
        self._host = urlsplit(entry.url).hostname
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")
        self._progress = progress
        self._sleep = sleep

    def run(self, check: Callable[[Path], None]) -> None:
        """Transfer, verify, take into the cache."""
        self._transfer_all()
        digest = _digest(self._part)
        expected = self._entry.sha256 or _recorded(self._target)
        try:
            if expected not in (None, digest):
                raise CheckpointError(
                    f"{self._url} has the SHA-256 {digest}, but {expected} is pinned; if the new "
                    f"file is right, delete {_pin(self._target)} and try again."
                )
            check(self._part)
        except CheckpointError:
            self._discard()
            raise
        with _writing(self._target.parent):
            _pin(self._target).write_text(f"{digest}  {self._target.name}\n", encoding="ascii")
            os.replace(self._part, self._target)
            self._about.unlink(missing_ok=True)

    def _transfer_all(self) -> None:
        """Transfer until the part is whole, going on from what an attempt left."""
        failures = 0
        while True:
            before = self._arrived()
            try:
                return self._transfer()
            except _Interrupted as exc:
                failures = 1 if self._arrived() > before else failures + 1
                if failures >= _ATTEMPTS:
                    raise CheckpointError(
                        f"Downloading {self._entry.name} from {self._host} failed ({exc}); what "
                        "arrived is kept, so try again when the network is back."
                    ) from exc
                self._sleep(2.0 ** (failures - 1))

    def _transfer(self) -> None:
        """Make one attempt."""
        about = self._read_about()
        offset = self._arrived() if about.get("validator") else 0
        if offset and offset == about.get("total"):
            return
        headers = {"User-Agent": "streamtrack", "Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": str(about["validator"])}
        with self._answers() as opened:
            response = opened(Request(self._url, headers=headers))
            with response:
                self._receive(response, offset)

    def _receive(self, response: http.client.HTTPResponse, offset: int) -> None:
        """Write an answer's body behind what is here, or in its place."""
        start, total = _place(response, offset)
        if response.headers.get_content_type() == "text/html":
            raise CheckpointError(
                f"{self._host} answered with a web page instead of {self._entry.file}; check for a "
                "log-in page or proxy in between."
            )
        with _writing(self._target.parent):
            if start == 0:
                self._part.write_bytes(b"")
                self._about.write_text(json.dumps(self._describe(response, total)), "utf-8")
        self._require_space((total or self._entry.approx_bytes) - start)
        done = start
        with self._part.open("ab") as file:
            while chunk := response.read(_CHUNK_BYTES):
                with _writing(self._target.parent):
                    file.write(chunk)
                done += len(chunk)
                self._progress(done, total)
            with _writing(self._target.parent):
                file.flush()
                os.fsync(file.fileno())
        if total is not None and done != total:
            raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")

    @contextlib.contextmanager
    def _answers(self) -> Iterator[Callable[[Request], http.client.HTTPResponse]]:
        """Give a way to ask; translate what asking and reading can raise."""
        opener = build_opener()  # reads the proxies of the environment now
        try:
            yield lambda request: opener.open(request, timeout=_TIMEOUT_S)
        except HTTPError as exc:
            exc.close()
            if exc.code == 416:
                self._discard()
            if exc.code in _PASSING or exc.code == 416:
                raise _Interrupted(f"HTTP status {exc.code}") from exc
            raise CheckpointError(
                f"{self._host} does not give {self._url} (HTTP status {exc.code}); get the file "
                "another way and name it with --checkpoint."
            ) from exc
        except URLError as exc:
            if isinstance(exc.reason, ssl.SSLCertVerificationError):
                raise CheckpointError(
                    f"The certificate of {self._host} cannot be verified "
                    f"({exc.reason.verify_message}); check the clock and any proxy in between."
                ) from exc
            reason = getattr(exc.reason, "strerror", None) or str(exc.reason)
            raise _Interrupted(reason) from exc
        except OSError as exc:
            raise _Interrupted(exc.strerror or str(exc) or type(exc).__name__) from exc
        except http.client.HTTPException as exc:
            raise _Interrupted(type(exc).__name__) from exc

    def _describe(self, response: http.client.HTTPResponse, total: int | None) -> dict[str, object]:
        etag = response.headers.get("ETag", "")
        strong = etag if etag and not etag.startswith("W/") else None
        validator = strong or response.headers.get("Last-Modified")
        return {"url": self._url, "total": total, "validator": validator}

    def _read_about(self) -> dict[str, object]:
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) and about.get("url") == self._url else {}

    def _arrived(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def _require_space(self, missing: int) -> None:
        folder = self._target.parent
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise CheckpointError(
                f"{self._entry.name} needs {missing / 1e6:,.0f} MB more, but {folder} has "
                f"{free / 1e6:,.0f} MB free; make room or set STREAMTRACK_CACHE."
            )


def _place(response: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Return the position an answer's body begins at and the size of the whole file."""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isascii() and length.isdigit() else None
    if response.status != 206:
        return 0, size
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    if unit != "bytes" or span.partition("-")[0] != str(offset):
        raise _Interrupted("the server answered with another part than was asked for")
    return offset, int(total) if total.isdigit() else (None if size is None else offset + size)


def _digest(path: Path) -> str:
    with _writing(path.parent), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pin(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    """Return the digest recorded by the first verified download, if there is one."""
    try:
        return _pin(path).read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, LookupError):
        return None


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Translate what the file system can raise."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "is full; make room"
        else:
            problem = f"cannot be used ({exc.strerror or exc}); mend that"
        raise CheckpointError(f"{folder} {problem} or set STREAMTRACK_CACHE.") from exc
