"""What fails: what is repeated, for how long, and what is raised."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import traceback
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx2
import numpy as np
import pytest
import stamina

import eddylift
from eddylift import (
    BusyError,
    EddyliftError,
    FailedError,
    NotFoundError,
    Progress,
    RefusedError,
    ServiceError,
    StoredVolume,
    TimedOutError,
    UnauthorizedError,
    UnexpectedAnswerError,
    UnreachableError,
    _calls,
)
from eddylift._preparation import Preparation
from eddylift._transfer import group
from eddylift._transport import LONGEST_PAUSE, pause
from tests.eddylift.conftest import CARDS, finer, problem

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask, FakeService, Step


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (problem(400), RefusedError),
        (problem(401), UnauthorizedError),
        (problem(413), RefusedError),
        (problem(422), RefusedError),
        (problem(500), FailedError),
        (problem(429, {"Retry-After": str(int(LONGEST_PAUSE) + 1)}), BusyError),
        (httpx2.ReadTimeout(""), TimedOutError),
        (httpx2.Response(307, headers={"Location": "https://elsewhere/"}), UnexpectedAnswerError),
        (httpx2.Response(200, text="<html>"), UnexpectedAnswerError),
        (httpx2.Response(200, json={"cards": []}), UnexpectedAnswerError),
        (httpx2.Response(200, json=[]), UnexpectedAnswerError),
        (httpx2.Response(200, content=b"\xff"), UnexpectedAnswerError),
    ],
)
def test_failures_that_are_not_repeated(
    ask: Ask, service: FakeService, step: Step, kind: type[eddylift.EddyliftError]
) -> None:
    service.script = [step]
    with pytest.raises(kind) as caught:
        ask("models")
    assert type(caught.value) is kind
    assert len(service.requests) == 1


HICCUPS = [
    problem(408),
    problem(429, {"Retry-After": "0"}),
    problem(502),
    problem(503, {"Retry-After": "1"}),
    httpx2.ConnectError("refused"),
    httpx2.ConnectTimeout(""),
    httpx2.ReadError(""),
    httpx2.WriteError(""),
    httpx2.RemoteProtocolError("hung up"),
]


@pytest.mark.parametrize("hiccup", HICCUPS)
def test_failures_that_are_repeated(ask: Ask, service: FakeService, array: NDArray[np.float32], hiccup: Step) -> None:
    service.script = [hiccup] * 3
    seen: list[Progress] = []
    fine = ask("upscale", array, model="trilinear-x4", progress=seen.append)
    np.testing.assert_array_equal(fine, finer(array))
    assert len(service.requests) == 4
    assert len({request.content for request in service.requests}) == 1
    assert seen.count(Progress("wait", 0, None)) == 4
    assert all(len(request.headers["Idempotency-Key"]) == 32 for request in service.requests)
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1


def test_the_log_says_why_a_call_is_repeated(ask: Ask, service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    service.script = [httpx2.ReadError("gone")]
    ask("models")
    assert "UnreachableError('cannot reach http://fake: gone'); trying again in 0.0 s" in caplog.messages


def not_connected(cause: Exception) -> httpx2.ConnectError:
    """As the network raises it: the reason is among the causes."""
    error = httpx2.ConnectError(str(cause))
    error.__cause__ = OSError("all attempts failed")
    error.__cause__.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (ConnectionRefusedError(111, "refused"), r"^nothing listens at http://fake.*--url or EDDYLIFT_URL$"),
        (ExceptionGroup("", [OSError(), ConnectionRefusedError()]), r"^nothing listens at http://fake"),
        (socket.gaierror(socket.EAI_NONAME, "not known"), r"^there is no host fake \(not known\)"),
        (ssl.SSLCertVerificationError(1, "self-signed"), r"^the certificate of http://fake is not trusted"),
        (ssl.SSLError(1, "wrong version"), r"^no secure connection to http://fake .*does the service speak plain http"),
    ],
)
def test_what_cannot_pass_fails_at_once(ask: Ask, service: FakeService, cause: Exception, message: str) -> None:
    service.script = [not_connected(cause)]
    with pytest.raises(UnreachableError, match=message):
        ask("models")
    assert len(service.requests) == 1


def test_a_name_server_that_is_busy_can_pass(ask: Ask, service: FakeService) -> None:
    service.script = [not_connected(socket.gaierror(socket.EAI_AGAIN, "try again"))] * 3
    assert ask("models") == CARDS
    assert len(service.requests) == 4


def test_a_service_that_answered_before_may_be_starting_again(service: FakeService) -> None:
    with eddylift.Client("http://fake", transport=httpx2.MockTransport(service)) as client:
        client.models()
        service.script = [not_connected(ConnectionRefusedError())] * 3
        assert client.models() == CARDS


def ask_for_models(address: str) -> object:
    return eddylift.Client(address).models()


def ask_for_models_asynchronously(address: str) -> object:
    return anyio.run(eddylift.AsyncClient(address).models)


@pytest.mark.parametrize("ask", [ask_for_models, ask_for_models_asynchronously])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_where_nothing_listens(ask: Ask, host: str) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else gets the port meanwhile.
        taken.bind(("127.0.0.1", 0))
        address = f"http://{host}:{taken.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"^nothing listens at {address}") as caught:
            ask(address)
    assert not caught.value.is_temporary


@pytest.mark.parametrize("ask", [ask_for_models, ask_for_models_asynchronously])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "service.invalid"])
def test_only_other_hosts_are_reached_through_a_proxy(ask: Ask, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # as above
        port = taken.getsockname()[1]
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
        address = f"http://{host}:{port}"
        through = f"cannot reach {address} through the proxy 127.0.0.1:{port} of HTTP_PROXY or ALL_PROXY "
        with pytest.raises(UnreachableError) as caught:
            ask(address)
    said = str(caught.value)
    assert said.startswith(through if host == "service.invalid" else f"nothing listens at {address}")
    assert "secret" not in said


@pytest.mark.parametrize(
    "step", [problem(422), not_connected(ConnectionRefusedError()), httpx2.ReadTimeout("slow"), httpx2.Response(200)]
)
def test_an_error_shows_no_frames_of_other_packages(ask: Ask, service: FakeService, step: Step) -> None:
    service.script = [step]
    with pytest.raises(EddyliftError) as caught:
        ask("models")
    own = str(Path(eddylift.__file__).parent)
    frames = [frame.filename.startswith(own) for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert all(frames[frames.index(True) :])
    assert "During handling" not in "".join(traceback.format_exception(caught.value))
    assert "direct cause" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("hiccup", [*HICCUPS, problem(504)])
def test_repeating_ends(ask: Ask, service: FakeService, hiccup: Step) -> None:
    service.script = [hiccup] * 10
    with pytest.raises((ServiceError, UnreachableError)):
        ask("models")
    assert len(service.requests) == 6


def test_every_call_has_a_key_of_its_own(ask: Ask, service: FakeService) -> None:
    for _ in range(3):
        ask("self_validate", "trilinear-x4")
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("soon", None), ("", None), ("-1", None), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after(ask: Ask, service: FakeService, header: str | None, seconds: float | None) -> None:
    service.script = [problem(429, {} if header is None else {"Retry-After": header})] * 6
    with pytest.raises(BusyError) as caught:
        ask("models")
    assert caught.value.retry_after == seconds
    wait = pause(_calls.models(), caught.value)
    assert wait is True if seconds is None else seconds <= wait <= seconds + 0.5


def test_retry_after_a_date(ask: Ask, service: FakeService) -> None:
    date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=50), usegmt=True)
    service.script = [problem(503, {"Retry-After": date})] * 6
    with pytest.raises(BusyError) as caught:
        ask("models")
    assert 0.5 < pause(_calls.models(), caught.value) <= 50.5


def test_the_pause_that_is_asked_for_is_made(ask: Ask, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    stamina.set_testing(testing=False)
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr("asyncio.sleep", note)
    service.script = [problem(429, {"Retry-After": "7"})]
    assert ask("models") == CARDS
    (made,) = pauses
    assert 7 <= made <= 7.5


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (413, r"\(413\): a proxy in front of the service .*client_max_body_size"),
        (504, r"\(504\): a proxy in front of the service .*proxy_read_timeout"),
        (403, r"\(403\)$"),
    ],
)
@pytest.mark.parametrize("method", ["upscale", "check", "discover", "forecast"])
def test_proxies_may_answer_in_html(ask: Ask, service: FakeService, status: int, message: str, method: str) -> None:
    """And what a proxy does not wait for is not computed again."""
    service.script = [httpx2.Response(status, text="<html>Nothing</html>")]
    field = np.zeros((4, 2, 8, 8) if method in {"discover", "forecast"} else (3, 4, 4, 4), np.float32)
    with pytest.raises((RefusedError, FailedError), match=message):
        ask(method, field, *[field] * (method == "discover"))
    assert len(service.requests) == 1


def test_a_deletion_whose_answer_was_lost_is_done(ask: Ask, service: FakeService) -> None:
    service.script = [httpx2.Response(200, json=dict.fromkeys(StoredVolume.required()))]
    service.script += [httpx2.ReadError("lost"), problem(404)]
    ask("delete_volume", "box")
    assert [request.method for request in service.requests] == ["GET", "DELETE", "DELETE"]
    with pytest.raises(NotFoundError):
        ask("delete_volume", "nothing")


def test_an_upload_whose_last_answer_was_lost_is_complete(ask: Ask, service: FakeService, dataset: xr.Dataset) -> None:
    """But not if it is another volume of this name, such as the one that it was to replace."""
    with group(dataset, Preparation()) as (objects, _):
        count, size = len(objects), sum(each.size for each in objects)
    stored = dict.fromkeys(StoredVolume.required(), None) | {"name": "box", "bytes": size}

    def upload(found: dict[str, object], before: dict[str, object] | None = None) -> object:
        sent: list[Step] = [httpx2.Response(201)] * count
        renamed: list[Step] = [httpx2.ReadError("lost"), problem(404), httpx2.Response(200, json=found)]
        draft = httpx2.Response(200, json=stored)
        there = httpx2.Response(200, json=before) if before else problem(404)
        # The keys of the draft are listed first, of which there is none.
        service.script = [problem(404), *sent, draft, *renamed]
        service.script.insert(1 + count if before else 0, there)
        return ask("upload", dataset, "box", replace=before is not None)

    assert upload(stored) == stored
    assert [request.method for request in service.requests[-3:]] == ["POST", "POST", "GET"]
    with pytest.raises(NotFoundError):
        upload({**stored, "bytes": size + 1})
    new = {**stored, "tag": "new"}
    assert upload(new, before=stored) == new
    with pytest.raises(NotFoundError):
        upload(stored, before=stored)
