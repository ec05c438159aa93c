"""A real Kubernetes API server with its etcd for tests: the API server from its Go module, built once and kept; etcd from the
Debian package, without installing it, so that no service comes with it."""
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import golang
from .failure import Failure, wait_until
from .paths import CACHE, ROOT, cache_lock
from .ports import free_port
from .process import Process

MODULE = ROOT / "tests" / "fixtures" / "kube"
NAMESPACE = "holdfast"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
BUILD_JOBS = 2  # its linker takes 2 GB
BEAT_S = 30

#: Where the kinds of objects live that apply() takes.
_PLACES = {"ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
           "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
           "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"}


# ------------------------------------------------------------------------------------------------ programs

def _run_with_beat(what, command, log, **options):
    """A command that takes minutes; says now and then that it is still at it."""
    start = time.monotonic()
    with open(log, "wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(BEAT_S)
                print(f"{what}: {time.monotonic() - start:.0f} s so far", file=sys.stderr, flush=True)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _version():
    """The release of Kubernetes that go.mod names, such as v1.36.3."""
    for line in (MODULE / "go.mod").read_text("utf-8").splitlines():
        parts = line.split()
        if parts[:1] == ["k8s.io/kubernetes"]:
            return parts[1]
    raise Failure(f"{MODULE / 'go.mod'} requires no k8s.io/kubernetes")


def apiserver():
    """The path of kube-apiserver, built on first use: minutes, and some 3 GB in Go's caches."""
    digest = hashlib.sha256(b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))
    target = CACHE / f"kube-apiserver-{digest.hexdigest()[:12]}"
    with cache_lock(target.name):
        if target.is_file():
            return target
        go, environment = golang.go((1, 21))  # which fetches what go.mod asks for
        version = _version()
        print(f"building kube-apiserver {version}, once", file=sys.stderr, flush=True)
        about = "k8s.io/component-base/version"
        words = {"gitVersion": version, "gitMajor": "1", "gitMinor": version.split(".")[1], "gitTreeState": "clean"}
        flags = "-s -w " + " ".join(f"-X {about}.{name}={value}" for name, value in words.items())
        log = CACHE / "kube-apiserver.log"
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".kube-") as scratch:
            built = Path(scratch) / "kube-apiserver"
            build = [go, "build", "-p", str(BUILD_JOBS), "-buildvcs=false", "-trimpath", "-tags", "providerless",
                     "-ldflags", flags, "-o", built, "."]
            settings = {**environment, "GOFLAGS": "", "GOTOOLCHAIN": "auto", "GOMAXPROCS": str(BUILD_JOBS)}
            code = _run_with_beat("building kube-apiserver", build, log, cwd=MODULE, env={**os.environ, **settings})
            if code:
                said = log.read_text("utf-8", "replace").strip().splitlines()
                raise Failure(f"kube-apiserver cannot be built: {said[-1] if said else code}; see {log}")
            shutil.move(built, target)
    return target


def etcd():
    """The path of etcd: the machine's own, or that of Debian's package, unpacked into the cache."""
    found = shutil.which("etcd")
    if found:
        return Path(found)
    target = CACHE / "etcd"
    with cache_lock(target.name):
        if target.is_file():
            return target
        with tempfile.TemporaryDirectory(prefix="holdfast-etcd-") as scratch:
            def fetch():
                return subprocess.run(["apt-get", "download", "etcd-server"], cwd=scratch, stdin=subprocess.DEVNULL,
                                      capture_output=True, check=False).returncode == 0
            if not fetch():
                subprocess.run(["apt-get", "update"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
                if not fetch():
                    raise Failure("etcd is not there, and cannot be fetched: apt-get install etcd-server")
            package = next(Path(scratch).glob("etcd-server_*.deb"))
            subprocess.run(["dpkg-deb", "-x", package, Path(scratch) / "tree"], check=True)
            shutil.move(Path(scratch) / "tree" / "usr" / "bin" / "etcd", target)
    return target


# -------------------------------------------------------------------------------------------- certificates

class Authority:
    """Signs for one folder."""

    def __init__(self, folder, name="test-ca"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self.folder / f"{name}.crt"
        self._key = self.folder / f"{name}.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self._key,
                      "-out", self.certificate, "-days", "30", "-subj", f"/CN={name}",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def sign(self, name, subject, names=""):
        """(certificate, key) files."""
        key, request, certificate, extensions = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt", "ext"))
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj", subject,
                      "-out", request)
        extensions.write_text("extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n"
                              + (f"subjectAltName={names}\n" if names else ""), "utf-8")
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                      "-days", "30", "-extfile", extensions, "-out", certificate)
        return certificate, key

    def key_pair(self, name):
        """(private, public) without a certificate."""
        private, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private)
        self._openssl("ec", "-in", private, "-pubout", "-out", public)
        return private, public


# --------------------------------------------------------------------------------------------------- client

class Refused(Exception):
    """The API server said no. code, and what it said."""

    def __init__(self, code, answer):
        super().__init__(f"{code}: {answer.get('message', answer) if isinstance(answer, dict) else answer}")
        self.code = code
        self.answer = answer


class Api:
    """Calls as one user."""

    def __init__(self, url, authority, token):
        self._host = url.split("//", 1)[1]
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method, path, body=None, kind="application/json", timeout=60):
        """The answer's JSON (or text); Refused for what is not 2xx, OSError when there is no answer."""
        connection = http.client.HTTPSConnection(self._host, timeout=timeout, context=self._tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {**self._headers, "Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"no whole answer: {error}") from error
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, text)
        return text

    def lease(self, name):
        """The Lease, or None."""
        try:
            return self.call("GET", f"{LEASES}/{name}")
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def holder(self, name):
        """holderIdentity; "" without one."""
        return ((self.lease(name) or {}).get("spec") or {}).get("holderIdentity") or ""

    def patch_lease(self, name, **spec):
        return self.call("PATCH", f"{LEASES}/{name}", {"spec": spec}, "application/merge-patch+json")

    def delete_lease(self, name):
        return self.call("DELETE", f"{LEASES}/{name}")

    def define(self, group, version, *kinds):
        """Kinds of objects, which may hold anything, until they are served."""
        for kind in kinds:
            plural = kind.lower() + "s"
            schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
            with contextlib.suppress(Refused):  # it is there
                self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                          {"metadata": {"name": f"{plural}.{group}"},
                           "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                                    "versions": [{"name": version, "served": True, "storage": True, "schema": schema}]}})

            def served(path=f"/apis/{group}/{version}/{plural}"):
                try:
                    return bool(self.call("GET", path))
                except Refused:
                    return False
            wait_until(served, 60, f"{plural} to be served", poll=0.1)

    def apply(self, objects):
        """Makes objects of a few kinds; one that is there already stays as it is."""
        for thing in objects:
            place = _PLACES[thing["kind"]].format(thing["metadata"].get("namespace", NAMESPACE))
            try:
                self.call("POST", place, thing)
            except Refused as refused:
                if refused.code != 409:
                    raise


# ----------------------------------------------------------------------------------------------------- servers

class Kube:
    """An API server, with users: admin; replica, which may do with Leases what an election needs; blind, which may not watch;
    nobody. All by token; replica by a certificate as well."""

    tokens = {"admin": "admin-token", "replica": "replica-token", "blind": "blind-token", "nobody": "nobody-token"}

    flags = ()  # of the API server, beside those of all tests

    def __init__(self, work):
        self.work = Path(work) / "kube"
        self.port, self._etcd_port, self._peer_port = free_port(), free_port(), free_port()
        self.authority = self.etcd = self.process = self.certificate = self.client_certificate = None

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def start(self):
        programs = etcd(), apiserver()
        self.work.mkdir(parents=True)
        self.authority = Authority(self.work / "pki")
        self.certificate = self.authority.sign("apiserver", "/CN=kube-apiserver", "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc,IP:10.96.0.1")
        self.client_certificate = self.authority.sign("replica", "/CN=replica")
        private, public = self.authority.key_pair("accounts")
        tokens = self.work / "tokens.csv"
        tokens.write_text("".join(f"{token},{user},{user}" + (',"system:masters"' if user == "admin" else "") + "\n"
                                  for user, token in self.tokens.items()), "utf-8")
        etcd_url, peer_url = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self.etcd = Process("etcd", [programs[0], "--data-dir", self.work / "etcd", "--unsafe-no-fsync", "--log-level=error",
                                     "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
                                     "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                                     "--initial-cluster", f"default={peer_url}"], self.work / "etcd.log", {"GOMAXPROCS": "2"})
        self.process = Process(
            "kube-apiserver",
            [programs[1], f"--etcd-servers={etcd_url}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
             "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--tls-cert-file={self.certificate[0]}",
             f"--tls-private-key-file={self.certificate[1]}", f"--client-ca-file={self.authority.certificate}",
             f"--token-auth-file={tokens}", "--anonymous-auth=false", "--authorization-mode=RBAC",
             "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={public}",
             f"--service-account-signing-key-file={private}", "--service-cluster-ip-range=10.96.0.0/24", "--profiling=false",
             "--shutdown-delay-duration=0s", "--disable-admission-plugins=ServiceAccount", *self.flags],
            self.work / "kube-apiserver.log", {"GOMAXPROCS": "2", "GOGC": "50"})
        try:
            self.etcd.start()
            self.process.start()
            self.wait_ready()
            self._populate()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self):
        admin = self.api()

        def serving():
            self.etcd.require_alive()
            self.process.require_alive()
            with contextlib.suppress(OSError, Refused):
                return admin.call("GET", "/readyz", timeout=2) == "ok"
            return False
        wait_until(serving, 120, f"the API server to be ready; its log: {self.process.log}", poll=0.1)

    def _populate(self):
        admin = self.api()
        admin.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for user, verbs in (("replica", ["get", "create", "update", "watch"]), ("blind", ["get", "create", "update"])):
            rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs}
            admin.apply([
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": user}, "rules": [rule]},
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": user},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
                 "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]}])
        replica = self.api("replica")

        def allowed():
            with contextlib.suppress(Refused):
                return replica.lease("none") is None and self.api("blind").lease("none") is None
            return False
        wait_until(allowed, 120, "the roles to hold", poll=0.05)

    def api(self, user="admin", token=None):
        return Api(self.url, self.authority.certificate, token or self.tokens[user])

    def kubeconfig(self, name="kubeconfig", user=None, server=None, cluster=None, context=None, **more):
        """Writes one; what is not given is that of the user replica with its token."""
        parts = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
                 "clusters": [{"name": "c", "cluster": {"server": server or self.url,
                                                        "certificate-authority": str(self.authority.certificate), **(cluster or {})}}],
                 "users": [{"name": "u", "user": user if user is not None else {"token": self.tokens["replica"]}}],
                 "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE, **(context or {})}}],
                 **more}
        path = self.work / name
        replace_text(path, json.dumps(parts, indent=1))  # which is YAML
        return path

    def account_token(self, name, seconds=600):
        """A token of a service account, as a pod gets it."""
        return self.api().call("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token",
                               {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                "spec": {"expirationSeconds": seconds}})["status"]["token"]

    def account_folder(self, folder, token):
        """What Kubernetes mounts into a pod."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.authority.certificate, folder / "ca.crt")
        (folder / "namespace").write_text(NAMESPACE, "utf-8")
        replace_text(folder / "token", token)
        return folder

    def pause(self):
        self.process.pause()

    def resume(self):
        self.process.resume()

    def kill(self):
        self.process.kill()

    def restart(self):
        self.process.start()
        self.wait_ready()

    def stop(self):
        for process in (self.process, self.etcd):
            if process and process.alive():
                process.resume()
                process.kill()


def replace_text(path, text):
    """As Kubernetes does it: the old file until the new one is whole."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(text, "utf-8")
    new.replace(path)


def base64_of(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


# -------------------------------------------------------------------------------------------------------- proxy

class Fault:
    """What the proxy does to the requests that match: method ("*": any), whether it is a watch (None: both), and a part of
    its path."""

    def __init__(self, method, code=None, retry_after=None, lose_answer=False, count=None, watch=False, seconds=None, part=""):
        self.part = part
        self.method, self.watch, self.code, self.retry_after = method, watch, code, retry_after
        self.lose_answer = lose_answer
        self.left = count  # None: until taken back
        self.until = None if seconds is None else time.monotonic() + seconds
        self.hits = []  # times

    def takes(self, method, is_watch, path):
        if self.method not in (method, "*") or self.watch not in (None, is_watch) or self.part not in path:
            return False
        if self.left == 0 or (self.until is not None and time.monotonic() > self.until):
            return False
        if self.left is not None:
            self.left -= 1
        self.hits.append(time.monotonic())
        return True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300

    def log_message(self, *_):
        """Quiet."""

    def _answer(self, code, body, headers=()):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer):
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while line := answer.readline():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _serve(self):
        front = self.server.proxy
        is_watch = "watch=1" in self.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = front.fault_for(self.command, is_watch, self.path)
        front.requests.append((time.monotonic(), self.command, self.path, self.headers.get("Authorization", "")))
        if fault and fault.code:
            text = json.dumps({"kind": "Status", "apiVersion": "v1", "code": fault.code, "message": "made by the proxy"})
            headers = [("Retry-After", str(fault.retry_after))] if fault.retry_after is not None else []
            self._answer(fault.code, text.encode(), headers)
            return
        far = http.client.HTTPSConnection("127.0.0.1", front.to.port, timeout=600 if is_watch else 30, context=front.tls)
        try:
            far.request(self.command, self.path, body or None,
                        {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")})
            answer = far.getresponse()
            if is_watch and answer.status == 200:
                self._stream(answer)
                return
            text = answer.read()
            if fault and fault.lose_answer:
                self.close_connection = True
                return
            self._answer(answer.status, text)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as when the server itself is gone
        finally:
            far.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve


class Proxy:
    """In front of the API server: answers some requests itself, and notes all of them."""

    def __init__(self, to):
        self.to = to
        self.tls = ssl.create_default_context(cafile=str(to.authority.certificate))
        self.requests = []  # (time, method, path, authorization)
        self._faults = []
        self._lock = threading.Lock()
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(*map(str, to.certificate))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.proxy = self
        self._server.handle_error = lambda *_: None  # clients that are killed in the middle
        self._server.socket = own.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, *arguments, **options):
        one = Fault(*arguments, **options)
        with self._lock:
            self._faults.append(one)
        return one

    def mend(self):
        with self._lock:
            self._faults.clear()

    def fault_for(self, method, is_watch, path):
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(method, is_watch, path)), None)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
