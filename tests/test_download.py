"""Downloads against a local server that cuts, lies and refuses."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamtrack.errors import CheckpointError
from streamtrack.tracking.checkpoints import download, verify_checkpoint
from streamtrack.tracking.download import fetch
from tests.checkpoint_files import entry_for, small_state, write_checkpoint


class FileServer:
    """Serves one body; each behaviour is an attribute a test may set."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.etag = '"one"'
        self.ranges = True
        self.cut_after: list[int] = []
        """Bytes after which each of the next answers is cut off."""
        self.statuses: list[int] = []
        """Statuses the next answers have instead of 200."""
        self.content_type = "application/octet-stream"
        self.requests: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.base}/tiny.pt"
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.path, dict(request.headers)))
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = self.start(request)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(self.body) - start))
        request.send_header("Content-Type", self.content_type)
        if self.etag:
            request.send_header("ETag", self.etag)
        if start:
            last = len(self.body) - 1
            request.send_header("Content-Range", f"bytes {start}-{last}/{len(self.body)}")
        request.end_headers()
        end = start + self.cut_after.pop(0) if self.cut_after else None
        request.wfile.write(self.body[start:end])

    def start(self, request: BaseHTTPRequestHandler) -> int:
        asked = request.headers.get("Range")
        if asked is None or not self.ranges or request.headers.get("If-Range") != self.etag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(tmp_path):
    write_checkpoint(tmp_path / "source.pt")
    server = FileServer((tmp_path / "source.pt").read_bytes())
    yield server
    server.close()


class Fetcher:
    """Fetches into a folder of its own and remembers waits and progress."""

    def __init__(self, folder):
        self.target = folder / "cache" / "tiny.pt"
        self.waits: list[float] = []
        self.progress: list[tuple[int, int | None]] = []

    def __call__(self, entry):
        fetch(
            entry,
            self.target,
            check=lambda path: verify_checkpoint(path, entry),
            progress=lambda done, total: self.progress.append((done, total)),
            sleep=self.waits.append,
        )

    def files(self):
        return sorted(path.name for path in self.target.parent.iterdir())


@pytest.fixture
def fetcher(tmp_path):
    return Fetcher(tmp_path)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_download_lands_whole_with_its_digest_recorded(server, fetcher):
    fetcher(entry_for(server.url))
    assert fetcher.target.read_bytes() == server.body
    recorded = (fetcher.target.parent / "tiny.pt.sha256").read_text()
    assert recorded == f"{digest(server.body)}  tiny.pt\n"
    assert fetcher.progress[-1] == (len(server.body), len(server.body))
    assert set(fetcher.files()) <= {"tiny.pt", "tiny.pt.sha256", "tiny.pt.lock"}


def test_a_cut_connection_is_resumed_where_it_broke(server, fetcher):
    server.cut_after = [1000, 500]
    fetcher(entry_for(server.url))
    assert fetcher.target.read_bytes() == server.body
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]
    assert fetcher.waits == [1.0, 1.0]


def test_a_part_of_an_earlier_run_is_resumed(server, fetcher):
    server.cut_after = [700] + [0] * 5
    with pytest.raises(CheckpointError, match="what arrived is kept"):
        fetcher(entry_for(server.url))
    assert fetcher.waits == [1.0, 2.0, 4.0, 8.0]
    assert "tiny.pt.part" in fetcher.files() and "tiny.pt" not in fetcher.files()
    server.requests.clear()
    fetcher(entry_for(server.url))
    assert server.requests[0][1]["Range"] == "bytes=700-"
    assert fetcher.target.read_bytes() == server.body


def test_a_server_without_ranges_starts_over(server, fetcher):
    server.ranges = False
    server.cut_after = [1000]
    fetcher(entry_for(server.url))
    assert fetcher.target.read_bytes() == server.body


def test_without_an_etag_nothing_is_spliced(server, fetcher):
    server.etag = ""
    server.cut_after = [1000]
    fetcher(entry_for(server.url))
    assert all("Range" not in headers for _, headers in server.requests)
    assert fetcher.target.read_bytes() == server.body


def test_a_file_that_changed_between_attempts_starts_over(server, fetcher, tmp_path):
    server.cut_after = [1000] + [0] * 5
    with pytest.raises(CheckpointError):
        fetcher(entry_for(server.url))
    state = small_state()
    state["no_obj_embed_spatial"] += 1
    server.body = write_checkpoint(tmp_path / "new.pt", state).read_bytes()
    server.etag = '"two"'
    fetcher(entry_for(server.url))
    assert fetcher.target.read_bytes() == server.body


def test_a_range_that_cannot_be_given_starts_over(server, fetcher):
    server.cut_after = [1000]
    answer = server.answer

    def refuse_ranges(request):
        if request.headers.get("Range"):
            server.statuses = [416]
        answer(request)

    server.answer = refuse_ranges
    fetcher(entry_for(server.url))
    assert fetcher.target.read_bytes() == server.body


def test_a_busy_server_is_asked_again(server, fetcher):
    server.statuses = [503, 429, 500]
    fetcher(entry_for(server.url))
    assert fetcher.waits == [1.0, 2.0, 4.0]


def test_a_missing_file_is_said_at_once(server, fetcher):
    server.statuses = [404]
    with pytest.raises(CheckpointError, match=r"HTTP status 404.*--checkpoint"):
        fetcher(entry_for(server.url))
    assert fetcher.waits == []


def test_an_unreachable_server_is_tried_and_named(fetcher):
    with pytest.raises(CheckpointError, match=r"from 127\.0\.0\.1 failed .*refused"):
        fetcher(entry_for("http://127.0.0.1:9/tiny.pt"))
    assert fetcher.waits == [1.0, 2.0, 4.0, 8.0]


def test_a_web_page_is_not_taken_for_the_file(server, fetcher):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(CheckpointError, match="web page"):
        fetcher(entry_for(server.url))
    assert "tiny.pt" not in fetcher.files()


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server, fetcher):
    with pytest.raises(CheckpointError, match=f"{digest(server.body)}, but {'0' * 64} is pinned"):
        fetcher(entry_for(server.url, sha256="0" * 64))
    assert not {"tiny.pt", "tiny.pt.part"} & set(fetcher.files())


def test_the_first_digest_is_pinned_for_the_next_download(server, fetcher, tmp_path):
    fetcher(entry_for(server.url))
    fetcher.target.unlink()
    state = small_state()
    state["no_obj_embed_spatial"] += 1
    server.body = write_checkpoint(tmp_path / "new.pt", state).read_bytes()
    with pytest.raises(CheckpointError, match="is pinned; if the new file is right, delete"):
        fetcher(entry_for(server.url))


def test_a_file_that_is_not_the_model_never_enters_the_cache(server, fetcher, tmp_path):
    server.body = write_checkpoint(tmp_path / "large.pt", small_state("large")).read_bytes()
    with pytest.raises(CheckpointError, match="holds sam2.1-large, not sam2.1-tiny"):
        fetcher(entry_for(server.url))
    assert not {"tiny.pt", "tiny.pt.part", "tiny.pt.sha256"} & set(fetcher.files())


def test_the_proxy_of_the_environment_is_used(server, fetcher, monkeypatch):
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    fetcher(entry_for("http://models.invalid/tiny.pt"))
    assert server.requests[0][0] == "http://models.invalid/tiny.pt"
    assert fetcher.target.read_bytes() == server.body


def test_two_downloads_at_once_ask_the_server_once(server, tmp_path):
    first, second = Fetcher(tmp_path), Fetcher(tmp_path)
    threads = [threading.Thread(target=one, args=(entry_for(server.url),)) for one in
               (first, second)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert first.target.read_bytes() == server.body


def test_a_cache_that_is_a_file_is_said(server, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be used"):
        Fetcher(tmp_path)(entry_for(server.url))


def test_a_full_disk_is_said_before_anything_arrives(server, fetcher):
    length = 10**18
    answer = server.answer

    class Huge:
        def __init__(self, request):
            self.request = request

        def __getattr__(self, name):
            return getattr(self.request, name)

        def send_header(self, name, value):
            self.request.send_header(name, str(length) if name == "Content-Length" else value)

    server.answer = lambda request: answer(Huge(request))
    with pytest.raises(CheckpointError, match="make room or set STREAMTRACK_CACHE"):
        fetcher(entry_for(server.url))


def test_a_model_that_is_here_is_checked_and_not_asked_for(server, tmp_path):
    models = {"sam2.1-tiny": entry_for(server.url)}
    path = download("sam2.1-tiny", models=models, directory=tmp_path)
    assert download("sam2.1-tiny", models=models, directory=tmp_path) == path
    assert len(server.requests) == 1
    path.write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="no longer has the SHA-256"):
        download("sam2.1-tiny", models=models, directory=tmp_path)
