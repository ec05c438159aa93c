"""First inputs for the fuzzers, made from docs/storage-format.md and docs/protocol.md."""

import hashlib
import pathlib
import re
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import http2  # noqa: E402

STORE_ID, NONCE, OWNER, BEFORE = bytes(range(16)), bytes(range(32, 48)), bytes(range(64, 80)), bytes(32)


def sized(data):
    return struct.pack(">I", len(data)) + data


def put(key, value, owner=bytes(16)):
    return b"\x01" + sized(key) + owner + sized(value)


def delete(key, prefix=False):
    return (b"\x03" if prefix else b"\x02") + sized(key)


def batch(*txns):
    return struct.pack(">QIQQ", 1, len(txns), 1, 9) + b"".join(map(sized, txns))


def record(kind, body):
    head = b"HFRECORD" + struct.pack(">II", 1, kind) + STORE_ID + struct.pack(">QQ", 1, 2) + NONCE + BEFORE
    head += struct.pack(">I", len(body))
    return head + hashlib.sha256(head + body).digest() + body


def mark():
    head = b"HFSTORE\n" + struct.pack(">I", 1) + STORE_ID + struct.pack(">Q", 1763683511042)
    return head + hashlib.sha256(head).digest()


def snapshot(*entries):
    data = b"HFSNAPSH" + struct.pack(">I", 1) + STORE_ID + struct.pack(">QQ", 1, 2) + BEFORE + NONCE
    data += struct.pack(">QQ", 3, len(entries))
    for key, value in entries:
        data += sized(key) + sized(value) + struct.pack(">QQQ", 1, 2, 2) + OWNER
    return data + hashlib.sha256(data).digest()


def writes(*parts):
    """fuzz_http's and fuzz_rpc's framing: a byte n, then n bytes; b"" closes the sending side."""
    out = b""
    for part in parts:
        if not part:
            out += b"\0"
        for at in range(0, len(part), 255):
            piece = part[at:at + 255]
            out += bytes([len(piece)]) + piece
    return out


def request(method, path, body=None, headers=b"", kind=b"application/json"):
    head = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers
    if body is not None:
        head += b"Content-Type: %s\r\nContent-Length: %d\r\n" % (kind, len(body))
    return head + b"\r\n" + (body or b"")


def http():
    chunked = b"POST /s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n\r\n"
    return [
        writes(request(b"GET", b"/a/%2e?q=1")),
        writes(request(b"POST", b"/c", b'{"a":1}')),
        writes(chunked, request(b"GET", b"/")),
        writes(request(b"GET", b"/1") + request(b"GET", b"/2") + request(b"HEAD", b"/3")),
        writes(request(b"PUT", b"/s", b"p" * 300, b"Expect: 100-continue\r\n"), b""),
        writes(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
        writes(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n", b""),
    ]


def frames():
    def call(stream, method, path, end=True, *more):
        return http2.headers(stream, http2.fields(method, path, *more, scheme=b"http"), end)

    def data(stream, text, end=True):
        return http2.frame(http2.DATA, http2.END_STREAM if end else 0, stream, text)
    get = call(1, b"GET", b"/a?q=1")
    block = http2.block(http2.fields(b"GET", b"/c", scheme=b"http"))
    return [
        writes(get), writes(get + call(3, b"HEAD", b"/b") + call(5, b"GET", b"/e"), http2.reset(5)),
        writes(call(1, b"POST", b"/c", False), data(1, b"{}", False), data(1, b'"a":1')),
        writes(call(1, b"POST", b"/s", False, (b"content-length", b"4")) + data(1, b"part")),
        writes(call(1, b"PUT", b"/s", False, (b"expect", b"100-continue")), data(1, b"p" * 300, False), data(1, b"")),
        writes(call(1, b"PUT", b"/p", False) + data(1, b"held"), http2.window_update(0, 1), data(1, b"more")),
        writes(http2.headers(1, block[:9], True, True), http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[9:])),
        writes(call(1, b"POST", b"/s", False) + data(1, b"x", False) + http2.headers(1, http2.block([(b"trailer", b"1")]))),
        writes(http2.settings(s1=0, s4=1) + get, http2.window_update(1, 3), http2.frame(http2.PING, payload=bytes(8))),
        writes(call(1, b"GET", b"/e") + http2.frame(http2.GOAWAY, payload=bytes(8)), b""),
        writes(call(1, b"GET", b"/e") + http2.frame(http2.PRIORITY, 0, 3, bytes(5)) + get, http2.frame(99, 255, 1, b"x")),
    ]


FENCED = b"Holdfast-Session: 00000000000000000000000000000001\r\nHoldfast-Fence: 2\r\n"
CLUSTER = b"/v1/clusters/default/c"
JOB = b"/jobs/" + b"0" * 31 + b"1"


def rpc():
    commit = (b'{"id":5,"pointer":"file:/c/5","started_ms":1,"completed_ms":2,"size":3,"properties":'
              b'{"type":"CHECKPOINT","sharing":"FORWARD_BACKWARD","format":null,"post_action":null,"forced":false,'
              b'"unclaimed":false,"discard_on":["subsumed"]},"inline":null,"num_retained":1,"discarded":[4],"reserve":8}')
    calls = [
        request(b"POST", CLUSTER + b"/sessions", b'{"session":"00000000000000000000000000000002","ttl_ms":5000,"holder":"h"}'),
        request(b"GET", CLUSTER + b"/sessions/00000000000000000000000000000001/events?contend=true"),
        request(b"DELETE", CLUSTER + b"/sessions/00000000000000000000000000000001"),
        request(b"GET", CLUSTER + b"/leader/watch"),
        request(b"PUT", CLUSTER + b"/leader/dispatcher", b'{"leader_session":"01000000-0000-4000-8000-000000000000",'
                b'"address":"pekko.tcp://x"}', FENCED),
        request(b"PUT", CLUSTER + b"/graphs/" + b"0" * 31 + b"1", b"graph bytes", FENCED,
                b"application/octet-stream"),
        request(b"GET", CLUSTER + b"/graphs/" + b"0" * 31 + b"1"),
        request(b"POST", CLUSTER + JOB + b"/checkpoints", commit, FENCED),
        request(b"GET", CLUSTER + JOB + b"/checkpoints"),
        request(b"POST", CLUSTER + JOB + b"/counter/reserve", b'{"count":8}', FENCED),
        request(b"POST", CLUSTER + JOB + b"/counter/raise", b'{"to":100}', FENCED),
        request(b"POST", CLUSTER + JOB + b"/discards/done", b'{"ids":[1,2]}', FENCED),
        request(b"PUT", CLUSTER + b"/results/" + b"0" * 31 + b"1", b'{"result":{"a":1}}', FENCED),
        request(b"POST", CLUSTER + b"/results/" + b"0" * 31 + b"1/clean", b'{"keep":false}', FENCED),
        request(b"DELETE", CLUSTER + JOB, None, FENCED),
        request(b"DELETE", CLUSTER, None, FENCED),
        request(b"GET", b"/v1/clusters"), request(b"GET", b"/v1/leaders"), request(b"GET", b"/v1/trash"),
        request(b"GET", b"/metrics"),
    ]
    return [writes(call) for call in calls] + [writes(*calls[4:9]), writes(*calls[7:16])]


def txn_row(*txns):
    return b"".join(struct.pack(">H", len(txn)) + txn for txn in txns)


TXNS = [put(b"/j/1", b"graph", OWNER), put(b"/j/2", b"") + delete(b"/j/1"), delete(b"/j/", True), put(b"/j/1", b"x") * 3]

CONFIG = (b"# settings\nlisten: \"127.0.0.1:0\"\nstore: 'file:///var/lib/holdfast'\nsession.close-grace: 300ms\n"
          b"limit.payload: 64MiB\nstore.workers: 4\n")

def flink_bytes():
    """Name -> bytes, of what Flink's own serializers wrote."""
    header = (pathlib.Path(__file__).resolve().parent.parent / "lib/flink_bytes.h").read_text("utf-8")
    found = re.findall(r"static const char (\w+)\[\] =([^;]*);", header)
    return {name: bytes.fromhex("".join(re.findall(r'"([0-9a-f]*)"', text))) for name, text in found}


FLINK = flink_bytes()
METADATA_V4 = FLINK["flink_metadata_v3"].replace(b"\0\0\0\x03", b"\0\0\0\x04", 1) + FLINK["flink_properties"]

def answers():
    keys = (b"<AssumeRoleWithOIDCResponse><Credentials><SecurityToken>t</SecurityToken><Expiration>2023-12-16T16:20:57Z</Expiration>"
            b"<AccessKeySecret>s</AccessKeySecret><AccessKeyId>STS.k</AccessKeyId></Credentials></AssumeRoleWithOIDCResponse>")
    aws = (b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>a</AccessKeyId>"
           b"<SecretAccessKey>b</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2023-12-16T16:20:57.123Z</Expiration>"
           b"</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
    return [
        b"\x00<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>ha/log/1</Key><Size>5</Size></Contents></ListBucketResult>",
        b"\x00<a xmlns='x'><b:c>&amp;&#65;<![CDATA[x]]></b:c></a>",
        b"\x01<Error><Code>AccessDenied</Code><Message>no</Message><Region>r</Region><Endpoint>oss-cn-x.aliyuncs.com</Endpoint></Error>",
        b"\x82" + keys, b"\x02" + aws,
        b'\x83{"AccessKeyId": "a", "AccessKeySecret": "b", "SecurityToken": "t", "Expiration": "2099-01-01T00:00:00Z"}',
        b'\x03{"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}',
        b"\x84[default]\ntype = sts\naccess_key_id = a\naccess_key_secret = b\nsecurity_token = c\n",
        b"\x04; x\n[default]\naws_access_key_id=a\naws_secret_access_key=b\n[other]\n",
        b"\x05https://oss-cn-shanghai-internal.aliyuncs.com:443/", b"\x06" b"20231216T162057Z", b"\x06" b"2023-12-16T16:20:57.5+00:00",
        b"\x07uploads\nb=c=d&e\na=\npartNumber=12",
    ]


def evidence():
    """A leftover, a cluster that lives, and a broken pointer, in fuzz_evidence.c's spelling: texts with their size, now is 160."""
    def row(kind, *fields):
        return bytes([kind]) + b"".join(bytes([len(field)]) + field if isinstance(field, bytes) else bytes([field]) for field in fields)
    job = b"ffffffffc0bf46800000000000000000"
    cluster = b"\xff\x01" + row(0, b"", b"prod", b"my-app", 1, 1, 1, b"s3://b/ha", 160, 161)[1:]
    objects = row(0, 1, 2, b"my-app-cluster-config-map", b"u", b"7", b"", b"", 0, 130, 130, 0, b"", b"", b"", b"", 9, 0)
    stale, fresh = (row(1, 0, b"", b"holder", 130, renewed, 15, 1, 0, b"") for renewed in (131, 160))
    plan = row(3, 0, 0, b"jobGraph-" + job, job, b"name", 0, 0, b"s3://b/ha/my-app/submittedJobGraph0a1b2c3d4e5f", 1, 0, 0, 0, 0, 0, b"", 0)
    checkpoints = [row(3, 0, 3, b"checkpointID-7", job, b"", 7, 0, b"s3://b/ha/my-app/c", state, 0, 0, 0, 0, 130, b"s3://b/ck", 1)
                   for state in (1, 3)]
    return [cluster + objects + stale + plan + checkpoints[0], cluster + objects + fresh + checkpoints[0],
            cluster + objects + stale + plan + checkpoints[1]]


SEEDS = {
    "answers": answers(),
    "gc": [bytes([kind]) + name for kind in range(4) for name in (
        b"shared/01234567-0123-0123-0123-0123456789ab", b"chk-7/_metadata", b"chk-12/01234567-0123-0123-0123-0123456789ab",
        b"shared/job_0123456789abcdef0123456789abcdef_op_x_0_1/01234567-0123-0123-0123-0123456789ab", b"dstl/../a//./%2fb")],
    "evidence": evidence(),
    "java": [data for name, data in FLINK.items() if "metadata" not in name],
    "metadata": [FLINK["flink_metadata_v3"], METADATA_V4, FLINK["flink_metadata_v6"] + FLINK["flink_properties"]],
    "config": [CONFIG, b"---\n{listen: \"a\\x09\\u00e4\", log.level: >\n  debug\n}\n...\n", b"listen: &a x\nstore: *a\n"],
    "record": [record(1, batch(*TXNS)), record(2, sized(b"10.0.0.2:7070") + struct.pack(">Q", 9)), mark()],
    "batch": [batch(*TXNS), batch()],
    "txn": [txn_row(*TXNS), txn_row(*reversed(TXNS))],
    "snapshot": [b"\x07" + snapshot((b"/j/1", b"graph"), (b"/j/2", b"")), b"\xff" + snapshot()],
    "http": http(),
    "http2": frames(),
    "rpc": rpc(),
}
