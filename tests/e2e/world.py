"""Processes, ports, HTTP and waiting for the end-to-end run. Knows nothing of what is tested."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path


class Failure(Exception):
    """A check that did not hold, in words for a person."""


def expect(condition, message):
    """Fail with `message` unless `condition` holds."""
    if not condition:
        raise Failure(message)


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on.

    From below the ephemeral range, so that the system does not give it to an outgoing connection before it is used.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(lowest, 32_768))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(what, attempt, seconds=60):
    """Call `attempt` until it returns without a Failure; its result, or the last Failure after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Failure as failure:
            if time.monotonic() > deadline:
                raise Failure(f"{what}: not within {seconds} s: {failure}") from None
            time.sleep(0.1)


@dataclass
class Response:
    """What an HTTP server answered."""

    status: int
    headers: dict
    body: str


def get(url, headers=None, method="GET"):
    """One HTTP request; a refused connection is a Failure, an error status is not."""
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return response(answer.status, answer)
    except urllib.error.HTTPError as answer:
        return response(answer.code, answer)
    except OSError as error:
        raise Failure(f"{method} {url}: {error}") from None


def response(status, answer):
    """An answer with its header names in lower case."""
    return Response(status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode())


def get_ok(url, headers=None):
    """The body of a request that must answer 200."""
    answer = get(url, headers)
    expect(answer.status == 200, f"GET {url}: status {answer.status}: {answer.body[:300]}")
    return answer.body


class Process:
    """A child process with its output in a file."""

    def __init__(self, name, command, folder):
        self.name = name
        self.log = folder / f"{name}.log"
        self.out = folder / f"{name}.out"
        with self.log.open("wb") as log, self.out.open("wb") as out:
            self.child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=log, cwd=folder)

    def ready_at(self, url, seconds=60):
        """Wait until `url` answers 200."""

        def attempt():
            if self.child.poll() is not None:
                self.fail(f"exited with {self.child.returncode} before {url} answered")
            get_ok(url)

        wait_until(self.name, attempt, seconds)
        return self

    def listening_at(self, port):
        """Wait until `port` accepts a connection."""

        def attempt():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError as error:
                raise Failure(f"port {port}: {error}\n{self.tail()}") from None

        wait_until(self.name, attempt)
        return self

    def signal(self, number):
        """Send a signal."""
        self.child.send_signal(number)

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL; the exit code, or None when it had to be killed."""
        if self.child.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def tail(self, lines=15):
        """The last lines it wrote to stderr."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def fail(self, message):
        """End the run: a process that others depend on is not as it must be."""
        raise SystemExit(f"{self.name}: {message}\n{self.tail()}")


@dataclass
class Finished:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self):
        """Everything it wrote."""
        return self.stdout + self.stderr


def run(command, seconds=60, stdin=None):
    """Run a command to its end."""
    command = [str(part) for part in command]
    env = {**os.environ, "NO_COLOR": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, input=stdin, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"`{' '.join(command)}` did not end within {seconds} s") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def must(command, **options):
    """Run a command that must succeed; what it printed."""
    done = run(command, **options)
    expect(done.code == 0, f"`{' '.join(map(str, command))}` exited with {done.code}:\n{done.text}")
    return done.stdout
