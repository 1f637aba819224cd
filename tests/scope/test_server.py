"""The server: what it answers, and that attacks get a refusal in words and leave it running."""

import gc
import http.client
import json
import socket
import threading
import weakref
from contextlib import suppress

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError, DataError
from minidl.scope import desk as desk_module
from minidl.scope.desk import Desk
from minidl.scope.opening import Scope
from minidl.scope.server import CONNECTIONS, LONGEST
from minidl.scope.subject import LabNetwork

SMALL = {"depth": 2, "width": 2}


@pytest.fixture(scope="module")
def opened():
    with Scope(LabNetwork()) as found:
        found._server.patience = 0.5
        yield found


def ask(opened, path, request=None, *, method=None, headers=None, body=None):
    """(status, the answer): JSON where it is JSON, else its text."""
    server = opened._server
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    if request is not None:
        body = json.dumps(request)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    method = method or ("GET" if body is None else "POST")
    connection.request(method, path, body, sent | (headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    kind = answer.getheader("Content-Type", "")
    return answer.status, json.loads(text) if kind == "application/json" and text else text


def raw(opened, data, wait=5.0, close=False):
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", opened._server.server_port), wait) as s:
        s.sendall(data)
        if close:
            s.shutdown(socket.SHUT_WR)
        found = b""
        while part := s.recv(4096):
            found += part
    return found.decode()


def works(opened):
    status, answer = ask(opened, "/step", {"settings": SMALL})
    return status == 200 and len(answer["network"]["layers"]) == 3


def test_the_page_and_its_parts_are_served(opened):
    status, page = ask(opened, "/")
    assert status == 200 and "<h1" in page
    assert ask(opened, "/main.js")[0] == ask(opened, "/page.css")[0] == 200
    assert (
        "MIT" in ask(opened, "/uPlot.LICENSE")[1]
        or "Permission" in ask(opened, "/uPlot.LICENSE")[1]
    )


def test_a_step_has_the_parts_that_are_asked_for(opened):
    status, answer = ask(opened, "/step", {"settings": SMALL, "parts": ["operations"], "image": 1})
    assert status == 200 and "network" not in answer
    assert [o["name"] for o in answer["operations"]["operations"]][:2] == ["conv2d", "relu"]


def test_a_film_comes_frame_by_frame(opened):
    status, text = ask(opened, "/film", {"settings": SMALL | {"rate": 0.01}})
    frames = [json.loads(line) for line in text.splitlines()]
    assert status == 200 and "layers" in frames[0] and "end" in frames[-1]
    assert len(frames) == 62


def test_who_leaves_a_film_frees_the_engine(opened):
    server = opened._server
    body = json.dumps({"settings": {"depth": 16, "width": 32}}).encode()
    head = f"POST /film HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), 30) as s:
        s.sendall(head.encode() + body)
        assert s.recv(200).startswith(b"HTTP/1.1 200")
    assert works(opened)  # long before the 60 steps would have been made


def test_a_pixel_is_changed(opened):
    place = {"image": 0, "channel": 0, "row": 10, "column": 10}
    status, answer = ask(opened, "/pixel", {"settings": SMALL, **place, "delta": 0.5})
    assert status == 200 and isinstance(answer["change"], float)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "0.0.0.0:{port}"],
)
@pytest.mark.parametrize("path", ["/", "/step"])
def test_another_host_is_refused(opened, host, path):
    host = host.format(port=opened._server.server_port)
    request = {"settings": SMALL} if path == "/step" else None
    status, answer = ask(opened, path, request, headers={"Host": host})
    assert status == 403 and "own name" in answer["error"]
    assert works(opened)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", ""])
def test_another_origin_is_refused(opened, origin):
    origin = origin.format(port=opened._server.server_port)
    for path in ("/step", "/film", "/pixel"):
        status, answer = ask(opened, path, {"settings": SMALL}, headers={"Origin": origin})
        assert status == 403 and "own page" in answer["error"]
    assert works(opened)


def test_its_own_origin_is_welcome(opened):
    for name in ("127.0.0.1", "localhost"):
        origin = f"http://{name}:{opened._server.server_port}"
        assert ask(opened, "/step", {"settings": SMALL}, headers={"Origin": origin})[0] == 200


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"settings": {"depth": 10**9}}, "depth: expected a whole number from 2 to 32"),
        ({"settings": {"depth": 10**300}}, "depth"),
        ({"settings": {"layers": 3}}, "there is no 'layers'"),
        ({"settings": {"scale": "1"}}, "scale"),
        ({"settings": []}, "an object of settings"),
        ([], "a JSON object"),
        ("text", "a JSON object"),
        (None, "a JSON object"),
        ({"parts": "network"}, "parts"),
        ({"parts": ["everything"]}, "parts"),
        ({"parts": [[]]}, "parts"),
        ({"image": -1}, "image"),
        ({"image": 64, "parts": ["operations"], "settings": SMALL}, "image"),
        ({"image": True}, "image"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(opened, request_, words):
    status, answer = ask(opened, "/step", body=json.dumps(request_))
    assert status == 400 and words in answer["error"]
    assert works(opened)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(opened, constant):
    body = f'{{"settings": {{"scale": {constant}}}}}'
    status, answer = ask(opened, "/step", body=body)
    assert status == 400 and answer["error"]
    status, answer = ask(opened, "/pixel", body=f'{{"delta": {constant}}}')
    assert status == 400 and answer["error"]
    assert works(opened)


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 5000, "\0", '{"settings": {"seed": ' + "9" * 5000 + "}}"]
)
def test_what_is_no_json_is_refused(opened, body):
    status, answer = ask(opened, "/step", body=body)
    assert status == 400 and answer["error"]
    assert works(opened)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "many"}, 411),
        ({"Content-Length": str(LONGEST + 1)}, 413),
        ({"Content-Length": "9" * 30}, 413),
    ],
)
def test_other_bodies_are_refused(opened, headers, status):
    found, answer = ask(opened, "/step", body="{}", headers=headers)
    assert found == status and answer["error"]
    assert works(opened)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py", "/..%2fserver.py", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page.py",
        "/....//main.js", "/main.js/../../server.py", "/en.json\0", "/index.html", "*",
        "http://evil.example/", "/" + "a" * 5000,
    ],
)  # fmt: skip
def test_no_other_file_is_served(opened, path):
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{opened._server.server_port}\r\n"
    answer = raw(opened, (head + "Connection: close\r\n\r\n").encode())
    assert answer.startswith("HTTP/1.1 40") and '"error"' in answer
    assert "import" not in answer and "root:" not in answer
    assert works(opened)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_other_methods_are_refused(opened, method):
    status, answer = ask(opened, "/step", method=method)
    assert status == 501 and answer["error"]
    assert ask(opened, "/nothing", {})[0] == 404


def test_half_a_request_is_told_so(opened):
    port = opened._server.server_port
    assert "did not come" in raw(opened, b"POST /step HT")
    assert "did not come" in raw(
        opened, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX: ".encode()
    )
    head = f"POST /step HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    half = (head + 'Content-Length: 100\r\n\r\n{"set').encode()
    assert "did not come" in raw(opened, half)
    assert "ended before" in raw(opened, half, close=True)
    assert works(opened)


@pytest.mark.parametrize(
    "data", [b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"A" * 70_000]
)
def test_what_is_no_http_is_refused(opened, data):
    with suppress(ConnectionError):  # it may close the connection while we are still sending
        raw(opened, data + b"\r\n\r\n")
    assert works(opened)


def test_a_hundred_connections_leave_it_running(opened):
    port = opened._server.server_port
    held = []
    try:
        for _ in range(100):
            held.append(socket.create_connection(("127.0.0.1", port), 5))
        refused = 0
        for s in held[CONNECTIONS + 1 :]:
            s.settimeout(3)
            refused += b"too many connections" in s.recv(400)
        assert refused >= 100 - CONNECTIONS - 2
    finally:
        for s in held:
            s.close()
    for _ in range(50):  # the server notices at its own pace that they have left
        try:
            if works(opened):
                break
        except (ConnectionError, http.client.HTTPException):
            pass
    assert works(opened)


def test_many_at_once_are_answered_one_after_the_other(opened):
    answers = []

    def one(seed):
        answers.append((seed, ask(opened, "/step", {"settings": SMALL | {"seed": seed}})[1]))

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = {s: ask(opened, "/step", {"settings": SMALL | {"seed": s}})[1] for s in range(8)}
    assert dict(answers) == alone  # no network took another's random numbers


def test_a_network_that_is_no_longer_shown_is_freed_at_once():
    desk = Desk(LabNetwork())
    desk.step({"settings": SMALL})
    assert desk._last is not None
    model = weakref.ref(desk._last[1].model)
    gc.disable()  # its parts must not wait for the collector of cycles
    try:
        desk.step({"settings": SMALL | {"seed": 1}})
        assert model() is None
    finally:
        gc.enable()


def test_a_large_record_is_not_kept(monkeypatch):
    desk = Desk(LabNetwork())
    request = {"settings": SMALL, "parts": ["operations"]}
    kept = desk.step(request)
    assert desk._record is not None
    monkeypatch.setattr(desk_module, "KEPT", desk._record.size - 1)
    assert desk.step(request) == kept
    assert desk._record is None
    assert desk.step(request) == kept


def test_it_listens_on_this_machine_alone(opened):
    assert opened._server.server_address[0] == "127.0.0.1"


def test_the_page_may_load_nothing_from_elsewhere(opened):
    connection = http.client.HTTPConnection("127.0.0.1", opened._server.server_port)
    connection.request("GET", "/")
    policy = connection.getresponse().getheader("Content-Security-Policy")
    connection.close()
    assert "default-src 'none'" in policy and "http" not in policy.replace("'self'", "")


def test_a_port_that_is_taken_is_said_so(opened):
    with pytest.raises(ConfigError, match="cannot listen on port"):
        Scope(LabNetwork(), opened._server.server_port)


def test_any_model_can_be_looked_at_from_python():
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    md.manual_seed(0)
    model = md.models.vgg_small(size=8, classes=3)
    with md.scope(model, (x, np.arange(4) % 3), classes=["cat", "dog", "cow"]) as opened:
        assert opened.url in opened._repr_html_() and opened.url in repr(opened)
        status, answer = ask(opened, "/step", {"parts": ["network", "operations"]})
        assert status == 200 and answer["labels"] == [0, 1, 2, 0]
        assert "max_pool2d" in [o["name"] for o in answer["operations"]["operations"]]
        status, answer = ask(opened, "/step", {"settings": {"depth": 3}})
        assert status == 400 and "there is no 'depth'" in answer["error"]
        page = ask(opened, "/")[1]
        assert "Sequential" in page and "cow" in page
    with pytest.raises(ConnectionError):
        ask(opened, "/")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((None, (np.zeros((2, 784), np.float32), np.zeros(2, int))), ConfigError),
        ((md.nn.ReLU(), (np.zeros((2, 784), np.float32), np.zeros(2, int))), ConfigError),
        ((md.models.mlp(784), np.zeros((2, 784))), DataError),
        ((md.models.mlp(784), (np.zeros((2, 784), np.float32), np.zeros(3, int))), DataError),
        ((md.models.mlp(784), (np.zeros((0, 784), np.float32), np.zeros(0, int))), DataError),
        ((md.models.mlp(784), (np.full((2, 784), np.nan), np.zeros(2, int))), DataError),
        ((md.models.mlp(784), (np.zeros((2, 783), np.float32), np.zeros(2, int))), md.MinidlError),
    ],
)
def test_what_cannot_be_looked_at_is_refused_at_once(arguments, error):
    with pytest.raises(error):
        md.scope(*arguments)
