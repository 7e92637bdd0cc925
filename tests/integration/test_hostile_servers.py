"""`otel-schema` against servers that answer oddly, endlessly, slowly, or with what is to deceive whoever reads it."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._prometheus import exposition, http
from opentelemetry.instrumentation.schema._prometheus.reading import Reading
from opentelemetry.instrumentation.schema._prometheus.report import Report
from opentelemetry.instrumentation.schema._prometheus.selector import Matcher, Selector, parse_selector
from opentelemetry.instrumentation.schema._prometheus.text import cleaned, printable
from opentelemetry.instrumentation.schema.cli.group import otel_schema
from opentelemetry.instrumentation.schema.cli.output import Screen
from opentelemetry.instrumentation.schema.cli.tables import tables
from prometheus_client.parser import text_string_to_metric_families

HOST = "127.0.0.1"
OURS = 'api_requests_total{http_request_method="GET",http_route="/"} 1\n'
EVIL = "\x1b]0;owned\x07\x9b31m\u202e\x00\x7f"

Talk = Callable[[socket.socket, str], None]
"""Answers one request, whose head it is given; then the connection is closed."""


@contextmanager
def server(talk: Talk, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server of raw bytes; gives its URL, and the heads of the requests as they come."""
    heads: list[str] = []
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    raw, _ = listening.accept()
                except OSError:
                    return
                with suppress(OSError), raw if context is None else context.wrap_socket(raw, True) as peer:
                    head = b""
                    while b"\r\n\r\n" not in head and (more := peer.recv(65536)):
                        head += more
                    heads.append(head.decode("latin-1"))
                    talk(peer, heads[-1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            scheme = "http" if context is None else "https"
            yield f"{scheme}://{HOST}:{listening.getsockname()[1]}", heads
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(text: str | bytes, status: str = "200 OK", **headers: str) -> Talk:
    body = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
    return lambda peer, _: peer.sendall(head + body)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(otel_schema, arguments, catch_exceptions=False)


def shows_nothing_but_text(result: Result) -> None:
    for line in result.output.splitlines():
        assert line.isprintable(), repr(line)


def prometheus(result: object) -> Talk:
    """Answer each query alike."""
    return says(json.dumps({"status": "success", "data": result}), Content_Type="application/json")


LABEL = f'api_requests_total{{http_request_method="GET",http_route="/{EVIL}"}} 1\n'


@pytest.mark.parametrize("arguments", [(), ("--json",)])
@pytest.mark.parametrize("command", ["top", "doctor"])
@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(says(LABEL), id="label"),
        pytest.param(says("", f"500 {EVIL.encode().decode('latin-1')}"), id="reason"),
        pytest.param(says("<html>", Content_Type="text/\x1b[31mhtml"), id="content type"),
        pytest.param(says("", "302 Found", Location="gopher://\x1b[2J/"), id="location"),
        pytest.param(
            says(json.dumps({"status": "error", "error": EVIL}), "400 Bad Request", Content_Type="application/json"),
            id="words of the API",
        ),
        pytest.param(
            prometheus({"resultType": "vector", "result": [{"metric": {"http_route": EVIL}, "value": [1, "1"]}]}),
            id="label of a query",
        ),
    ],
)
def test_nothing_but_printable_text_is_printed(talk: Talk, command: str, arguments: tuple[str, ...]) -> None:
    """No control, escape or direction character of a label, an error or a header reaches the terminal."""
    with server(talk) as (url, _):
        for path in ("", "/metrics"):
            shows_nothing_but_text(run(command, url + path, *arguments))


def test_a_tampered_label_is_shown_by_its_characters() -> None:
    """What is not printable in a label is written out, so that a person sees that it is there."""
    with server(says(LABEL)) as (url, _):
        shown = "".join(re.split("[│ \n]+", run("top", f"{url}/metrics").output))
    assert r"\x1b]0;owned\x07\x9b31m\u202e\x00\x7f" in shown


@given(st.text())
def test_cleaned_text_is_short_printable_and_stays_different(text: str) -> None:
    """Cleaning gives printable text of bounded length, leaves clean text alone, and two long texts stay two."""
    assert cleaned(text).isprintable()
    assert len(cleaned(text * 1000)) <= 300 * 10 + 9
    if text.isprintable() and len(text) <= 300:
        assert cleaned(text) == text
    assert cleaned(text + "a" * 1000) != cleaned(text + "a" * 999 + "b")


DEEP = "[" * 100_000

ODD = {
    "infinite count": says('api_requests_total{http_request_method="GET"} +Inf\n'),
    "negative count": says("cache_hits_total -1\n"),
    "huge count": says("cache_hits_total 1e300\n"),
    "bucket without number": says('schema_validation_duration_seconds_bucket{le="often"} 1\n'),
    "bucket of NaN": says('schema_validation_duration_seconds_bucket{le="NaN"} 1\n'),
    "labels without end": says('api_requests_total{a="b 1\n'),
    "no value": says("api_requests_total\n"),
    "not text": says(bytes(range(256))),
    "html": says("<html>", Content_Type="text/html"),
    "compressed": says(b"\x1f\x8b\x08\x00\x00", Content_Encoding="gzip"),
    "deep JSON": says(DEEP),
    "no HTTP": lambda peer, _: peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "no answer": lambda peer, _: None,
    "short answer": lambda peer, _: peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
    "bad chunks": lambda peer, _: peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "many headers": lambda peer, _: peer.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000),
    "long header": lambda peer, _: peer.sendall(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000),
    "error": says("no", "503 Service Unavailable"),
    "redirect to itself": says("", "302 Found", Location="/metrics"),
    "redirect to nowhere": says("", "302 Found", Location="http://[::"),
    "query: no result": prometheus({"resultType": "vector"}),
    "query: wrong types": prometheus({"resultType": "vector", "result": {"metric": 1}}),
    "query: rows": prometheus({"resultType": "vector", "result": [1, None]}),
    "query: labels": prometheus({"resultType": "vector", "result": [{"metric": {"a": 1}, "value": [1, "1"]}]}),
    "query: value": prometheus({"resultType": "vector", "result": [{"metric": {}, "value": [1, 1]}]}),
    "query: infinite": prometheus({"resultType": "vector", "result": [{"metric": {}, "value": [1, "+Inf"]}]}),
    "query: scalar": prometheus({"resultType": "scalar", "result": []}),
    "query: type": prometheus({"resultType": ["vector"], "result": []}),
}


@pytest.mark.parametrize("command", ["top", "doctor"])
@pytest.mark.parametrize("path", ["", "/metrics"])
@pytest.mark.parametrize("talk", ODD.values(), ids=list(ODD))
def test_odd_answers_end_with_one_line(talk: Talk, path: str, command: str) -> None:
    """Whatever a server answers, the command ends with 2 and one line that names the server and what to do."""
    with server(talk) as (url, _):
        result = run(command, url + path, "--timeout", "5")
    (line,) = result.output.splitlines()
    assert result.exit_code == 2, line
    assert line.startswith("Error: ")
    assert url in line
    assert re.search(r"check|give|leave out|exclude", line), line
    assert len(line) < 700
    shows_nothing_but_text(result)


def drip(peer: socket.socket, head: bytes, rest: bytes) -> None:
    peer.sendall(head)
    while True:
        peer.sendall(rest)
        time.sleep(0.05)


@pytest.mark.parametrize(
    "talk",
    [
        lambda peer, _: drip(peer, b"", b"H"),
        lambda peer, _: drip(peer, b"HTTP/1.1 200 OK\r\n", b"A"),
        lambda peer, _: drip(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"a"),
        lambda peer, _: drip(peer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        lambda peer, _: drip(peer, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda peer, _: drip(peer, b"HTTP/1.1 302 Found\r\nLocation: /\r\n", b"a"),
    ],
    ids=["status", "header", "body", "chunks", "continue", "redirect"],
)
def test_a_slow_answer_ends_at_the_deadline(talk: Talk) -> None:
    """A server that sends a byte now and then is given up at the deadline for the whole, wherever it dawdles."""
    with server(talk) as (url, _):
        began = time.monotonic()
        result = run("top", f"{url}/metrics", "--timeout", "1")
        assert time.monotonic() - began < 5
    assert (result.exit_code, "in 1 s" in result.output, "--timeout" in result.output) == (2, True, True)


def test_all_addresses_of_a_name_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with many addresses, of which none answers, is given up at the deadline and not at a multiple of it."""
    with socket.create_server((HOST, 0), backlog=0) as full, suppress(OSError):
        at = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:  # until it takes no more
            each.settimeout(0.3)
            with suppress(TimeoutError):
                each.connect(at)
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", at)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: [one] * 8)
        began = time.monotonic()
        result = run("top", "http://many.example/metrics", "--timeout", "1")
        took = time.monotonic() - began
        for each in waiting:
            each.close()
    assert (result.exit_code, "in 1 s" in result.output) == (2, True)
    assert took < 5


@pytest.mark.parametrize("status", ["200 OK", "302 Found\r\nLocation: /other"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_endless_answer_ends_at_the_limit(status: str, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body without end is given up after a limit of bytes, and one that comes with a redirect is not read."""
    monkeypatch.setattr(http, "LARGEST", 3 << 20)
    sent = 0

    def flood(peer: socket.socket, head: str) -> None:
        nonlocal sent
        if "/other" in head:
            says(OURS)(peer, head)
            return
        transfer = "Transfer-Encoding: chunked\r\n" if chunked else ""
        peer.sendall(f"HTTP/1.1 {status}\r\n{transfer}\r\n".encode())
        while True:
            sent += peer.send(b"10000\r\n" + b"a" * 65536 + b"\r\n" if chunked else b"a" * 65536)

    with server(flood) as (url, _):
        result = run("top", f"{url}/metrics")
    if status.startswith("200"):
        assert (result.exit_code, "more than 3 MiB" in result.output) == (2, True)
    else:
        assert result.exit_code == 0
    assert sent < 20 << 20


def test_a_redirect_to_another_scheme_is_refused() -> None:
    """A redirect from http to https, or to a file, is not followed, and the address is said."""
    for target in ("https://other.example/metrics", "file:///etc/passwd", "ftp://other.example/"):
        with server(says("", "302 Found", Location=target)) as (url, heads):
            result = run("top", f"{url}/metrics")
        assert (result.exit_code, len(heads)) == (2, 1)
        assert f"redirects to {target}, of another scheme" in result.output


def test_a_redirect_to_another_host_is_said_and_gets_no_credentials(tmp_path: Path) -> None:
    """A redirect within a host keeps the credentials; to another one it is followed, said, and gets none of them."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with server(says(OURS)) as (other, others):

        def redirect(peer: socket.socket, head: str) -> None:
            says("", "307 Temporary Redirect", Location="/b" if "/metrics" in head else f"{other}/c?t=s3cret")(
                peer, head
            )

        with server(redirect) as (url, heads):
            result = CliRunner().invoke(
                otel_schema,
                ["top", f"{url}/metrics", "--bearer-token-file", str(token), "--header", "X-Scope-OrgID=s3cret"],
            )
    assert result.exit_code == 0, result.output
    assert [head.count("s3cret") for head in heads] == [2, 2]
    assert "Authorization: Bearer s3cret" in heads[0]
    assert "s3cret" not in others[0].partition("\r\n")[2]
    assert f"redirects to another host, {other}/c?t=***" in result.stderr
    assert "s3cret" not in result.output


LOGIN = "Authorization: Basic " + base64.b64encode(b"ann:p@ss/w\xc3\xb6rd").decode()


@pytest.mark.parametrize("command", ["top", "doctor"])
@pytest.mark.parametrize(
    "talk",
    [
        says(OURS),
        says("", "401 Unauthorized"),
        says("<html>"),
        prometheus({"resultType": "vector", "result": []}),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_credentials_of_a_url_are_sent_and_never_shown(talk: Talk, command: str, arguments: tuple[str, ...]) -> None:
    """`user:password@` is Basic authentication, and neither it nor a token in the query is printed anywhere."""
    with server(talk) as (url, heads):
        there = url.replace("://", "://ann:p%40ss%2Fw%C3%B6rd@")
        for address in (f"{there}?token=t0ken", f"{there[7:]}/x?token=t0ken"):
            result = run(command, address, *arguments)
            for secret in (r"\bann\b", "p@ss", "p%40", "t0ken"):
                assert not re.search(secret, result.output)
    assert all(LOGIN in head for head in heads)
    assert all("token=t0ken" in head for head in heads)
    assert "ann" not in "".join(re.findall("Host: .*", "".join(heads)))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://ann:s3cret@host/",
        "http://ann:s3cret@",
        "http://ann:s3cret@host:99999",
        "http://ann:12/s3cret@host",
        "http://ann:12?s3cret@host",
        "http://ann:12#s3cret@host",
        "http://ann:s3cret@ho st/",
        "ann:1/s3cret@host",
        "http://ann:s3cret@[::1",
    ],
)
def test_a_bad_url_is_refused_unasked_and_keeps_its_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that is none, or hides a password where a host stands, is refused without asking anybody or showing it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("it was looked up"))
    result = run("top", url)
    assert result.exit_code == 2
    assert "s3cret" not in result.output
    assert re.search("write it as %40|is not an http", result.output), result.output


def test_a_password_is_not_in_a_traceback_of_ours() -> None:
    """The objects that hold a URL do not show it."""
    from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus, Scrape

    for holds in (Prometheus("http://ann:s3cret@host"), Scrape("http://ann:s3cret@host")):
        assert "s3cret" not in repr(holds)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    names = ["-addext", f"subjectAltName=IP:{HOST}", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return files


def test_an_own_authority_is_trusted_when_it_is_named(certificate: tuple[Path, Path]) -> None:
    """Over TLS an unknown certificate is refused, with the option that trusts it; with the option it is read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with server(says(OURS), context) as (url, _):
        refused = run("top", f"{url}/metrics")
        trusted = run("top", f"{url}/metrics", "--ca-file", str(certificate[0]))
    assert (refused.exit_code, "--ca-file" in refused.output) == (2, True)
    assert trusted.exit_code == 0, trusted.output


@pytest.mark.parametrize("command", ["top", "doctor"])
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--header", "s3cret"], "--header"),
        (["--header", "Tok\nen=s3cret"], "--header"),
        (["--header", "Token=s3crét"], "--header 'Token'"),
        (["--bearer-token-file", "missing"], "missing"),
        (["--bearer-token-file", "empty"], "--bearer-token-file empty"),
        (["--bearer-token-file", "token", "--header", "authorization=s3cret"], "use only one of them"),
        (["--ca-file", "empty"], "--ca-file empty"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "nan"], "--timeout"),
        (["--match", "prod"], "is not a selector such as"),
        (["--match", 'a="b'], "is not a selector such as"),
        (["--match", '{a="b"}}'], "is not a selector such as"),
        (["--match", 'a=~"("'], "is not a regular expression"),
        (["--match", ""], "leave it out"),
        (["--nothing"], "--nothing"),
    ],
)
def test_a_bad_option_is_named_in_one_line(
    command: str, arguments: list[str], names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that cannot be ends with 2 and one line that names it, without the secret that it holds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("")
    (tmp_path / "token").write_text("s3cret")
    result = run(command, f"http://{HOST}:1", *arguments)
    (line,) = result.output.splitlines()
    assert (result.exit_code, names in line) == (2, True), line
    assert "s3cret" not in line
    assert "s3cr" not in line


NAMES = st.sampled_from(["cache_hits_total", "api_requests_total", "schema_validation_duration_seconds_bucket", "up"])
LABELS = st.dictionaries(
    st.sampled_from(["a", "le", "schema_name", "schema_cache_name", "otel_metric_overflow"]), st.text(max_size=8)
)
SPACES = st.sampled_from(["", " ", "\t", "  "])


@given(st.lists(st.tuples(NAMES, LABELS, st.floats(), SPACES), max_size=5))
def test_samples_are_those_of_the_client_library(rows: list[tuple[str, dict[str, str], float, str]]) -> None:
    """Whatever the text format can say, in labels and numbers, is read as prometheus_client reads it."""
    lines: list[str] = []
    for name, labels, value, space in rows:
        pairs = [
            f'{space}{key}{space}={space}"{text}"'
            for key, raw in labels.items()
            if (text := raw.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\""))
            and not any(each in text for each in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")  # ends of lines for it
        ]
        lines.append(f"{name}{space}{{{','.join(pairs)}}} {value}\n" if pairs else f"{name} {value}\n")
    text = "# HELP up is it\n# TYPE up gauge\n" + "".join(lines)
    theirs = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert repr(list(exposition.parse(text))) == repr(
        [(each.name, dict(each.labels), float(each.value)) for each in theirs]
    )


@given(st.one_of(st.text(), st.text('apirequests_total{}="\\, +-1e9.\n#')))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_reading_or_refused(text: str) -> None:
    """Any text becomes tables of printable text and valid JSON, or a ValueError, and nothing else."""
    try:
        report = Report.of(Reading.of(exposition.parse(text)))
    except ValueError:
        return
    json.dumps(report.as_dict(), allow_nan=False)
    console = Screen(width=200)
    with console.capture() as capture:
        for table in tables(report):
            console.print(table)
    assert all(line.isprintable() for line in capture.get().split("\n"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["+Inf", "1", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metric", "value", "histogram", "result", "resultType", "data", "le"]), inner
        )
    ),
    max_leaves=12,
)
VECTOR = st.builds(lambda rows: {"resultType": "vector", "result": rows}, st.lists(JSON, max_size=3) | JSON)


@pytest.fixture(scope="module")
def changing() -> Iterator[tuple[str, list[Talk]]]:
    """A server that answers as the last entry of a list says."""
    talks: list[Talk] = []
    with server(lambda peer, head: talks[-1](peer, head)) as (url, _):
        yield url, talks


@given(answer=JSON | st.builds(lambda data: {"status": "success", "data": data}, JSON | VECTOR))
def test_any_json_is_a_reading_or_refused(changing: tuple[str, list[Talk]], answer: object) -> None:
    """Whatever JSON stands where a Prometheus should, the command ends with 0, 2 or 3, and an error is one line."""
    url, talks = changing
    talks.append(says(json.dumps(answer), Content_Type="application/json"))
    for command in ("top", "doctor"):
        result = run(command, url)
        assert result.exit_code in ((0, 2, 3) if command == "top" else (0, 1, 2, 3))
        assert result.exit_code != 2 or len(result.output.splitlines()) == 1
        shows_nothing_but_text(result)


@given(st.binary() | st.builds(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body, st.binary()))
def test_any_bytes_are_an_answer_or_refused(changing: tuple[str, list[Talk]], raw: bytes) -> None:
    """Whatever bytes a server sends, the command ends with 0, 2 or 3, and an error is one line."""
    url, talks = changing
    talks.append(lambda peer, _: peer.sendall(raw))
    result = run("top", f"{url}/metrics")
    assert result.exit_code in (0, 2, 3)
    assert result.exit_code != 2 or len(result.output.splitlines()) == 1
    shows_nothing_but_text(result)


@pytest.mark.parametrize(
    "line",
    [
        "a{" + 'x="y",' * 100_000 + "} 1",
        "a{" + 'x="' + '\\"' * 500_000,
        "a{" + 'x="' + "\\" * 500_000,
        "a{" + " " * 1_000_000,
        "a" + " " * 1_000_000,
        "a " + "1" * 1_000_000 + "x",
        "a{" + '"' * 1_000_000,
        "a{" + 'x = "y" ' * 100_000,
        "#" + '"\\' * 500_000,
    ],
    ids=["labels", "quotes", "backslashes", "spaces", "more spaces", "digits", "empty", "no commas", "comment"],
)
def test_a_long_line_is_read_in_linear_time(line: str) -> None:
    """A line of 1 MB, whatever is in it, is read or refused in less than 5 s; quadratic work takes minutes."""
    began = time.process_time()
    with suppress(ValueError):
        list(exposition.parse(line))
    assert time.process_time() - began < 5


@given(st.sampled_from(["=", "!=", "=~", "!~"]), st.text(), st.text())
def test_a_selector_is_read_back_from_what_it_prints(operator: str, value: str, other: str) -> None:
    """A selector printed as PromQL is the same selector when it is read, whatever characters its values hold."""
    given = Selector((Matcher("a", operator, re.escape(value) if "~" in operator else value),))
    selector = parse_selector(given.of("x")[1:])
    assert selector == given
    for each in (value, other):
        assert selector.matches({"a": each}) is ((each == value) is not operator.startswith("!"))


def test_printable_escapes_what_python_would() -> None:
    """Every character is printable afterwards, lone surrogates too."""
    assert printable("a\ud800\x1bb\n") == r"a\ud800\x1bb\n"
