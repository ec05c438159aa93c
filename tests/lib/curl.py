"""What http.client's connections do, for HTTP/2: each request is a curl of its own, which speaks nothing else."""
import http.client
import shutil
import subprocess

from .failure import Failure


class Connection:
    def __init__(self, port, authority):
        """authority: the file of the certificate that signed the server's."""
        if not shutil.which("curl"):
            raise Failure("there is no curl: run scripts/install")
        self.url = f"https://127.0.0.1:{port}"
        self.authority = authority
        self.process = None

    def request(self, method, path, body=None, headers=None):
        command = ["curl", "--silent", "--show-error", "--no-buffer", "--path-as-is", "--globoff", "--http2", "--include",
                   "--cacert", str(self.authority), "--noproxy", "*"]
        command += ["--head"] if method == "HEAD" else ["--request", method]
        for name, value in {"Content-Type": "", **(headers or {})}.items():
            command += ["--header", f"{name}: {value}" if value else f"{name}:"]
        if body is not None:
            command += ["--data-binary", "@-"]
        self.close()
        self.process = subprocess.Popen([*command, self.url + path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        try:
            self.process.stdin.write(body.encode() if isinstance(body, str) else body or b"")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has its answer, or cannot connect

    def getresponse(self):
        self._head()
        while self.status == 100:
            self._head()
        return self

    def _head(self):
        line = self.process.stdout.readline().decode()
        if not line.startswith("HTTP/2 "):
            raise http.client.HTTPException(f"{line!r}: {self.process.stderr.read().decode()}")
        self.status, self.headers = int(line.split()[1]), {}
        while line := self.process.stdout.readline().decode().strip():
            name, _, value = line.partition(": ")
            self.headers["-".join(map(str.capitalize, name.split("-")))] = value

    def getheader(self, name):
        return self.headers.get(name)

    def getheaders(self):
        return list(self.headers.items())

    def read(self):
        data = self.process.stdout.read()
        if self.process.wait() != 0:
            raise http.client.HTTPException(self.process.stderr.read().decode())
        return data

    def readline(self):
        return self.process.stdout.readline()

    def close(self):
        """As the kernel closes the connection of a killed process."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        self.process = None
