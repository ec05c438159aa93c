"""A strict Aliyun OSS for tests: there is no server of it to run, and the one emulator checks neither signatures nor
x-oss-forbid-overwrite.

What it checks and answers follows the vendor's manual; tests/contract/oss.py drives it with the vendor's own SDK, so
that a misreading of ours shows. It is one thread with an event loop; a request is carried out in one go, and so is
atomic. Tests look at its state directly, and plant faults with `fault`.
"""
import asyncio
import base64
import bisect
import calendar
import collections
import email.utils
import hashlib
import hmac
import secrets
import ssl
import threading
import time
import xml.etree.ElementTree as ET
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from .failure import Failure
from .ports import free_port

SKEW_S = 15 * 60
KEYS_MAX = 1000
PART_MIN = 100 * 1024
BODY_MAX = 512 * 1024 * 1024
# What version 1 of the signature covers of the query; the manual's list, as far as it is served here.
SUBRESOURCES = {"acl", "append", "bucketInfo", "continuation-token", "delete", "location", "objectMeta", "partNumber",
                "position", "response-content-type", "security-token", "stat", "uploadId", "uploads", "versioning",
                "versionId", "versions", "x-oss-process"}


class Refusal(Exception):
    """An answer that is an error document."""

    def __init__(self, status, code, message, ec="", **more):
        super().__init__(code)
        self.status, self.code, self.message, self.ec, self.more = status, code, message, ec, more


class Account:
    """Keys, and what may be done with them; a token makes them temporary ones."""

    def __init__(self, secret, token="", expires=None, denied=()):
        self.secret, self.token, self.expires, self.denied = secret, token, expires, set(denied)


class Bucket:
    def __init__(self, name):
        self.name = name
        self.objects = {}
        self.keys = []  # sorted as bytes, which is how OSS lists
        self.uploads = {}
        self.versioning = ""  # "", "Enabled" or "Suspended"

    def put(self, key, body):
        if key not in self.objects:
            bisect.insort(self.keys, key)
        self.objects[key] = Object(body)

    def remove(self, key):
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]


class Object:
    def __init__(self, body, etag=None):
        self.body = body
        self.etag = etag or '"' + hashlib.md5(body).hexdigest().upper() + '"'
        self.written = time.time()

    def last_modified(self):
        return email.utils.formatdate(self.written, usegmt=True)


class Fault:
    """Done to the next `times` requests that `where` is true of: `before` they are carried out, or `after`.

    what: "cut" (the connection ends without an answer), "half" (in the middle of its body), a Refusal, or seconds
    to wait before going on.
    """

    def __init__(self, where, what, times=1, after=False):
        self.where, self.what, self.left, self.after, self.hits = where, what, times, after, 0

    def take(self, request, after):
        if self.left == 0 or self.after != after or not self.where(request):
            return False
        self.left -= 1
        self.hits += 1
        return True


class Request:
    """One request, taken apart."""

    def __init__(self, head, body):
        lines = head.split("\r\n")
        self.method, self.target, version = lines[0].split(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise ValueError(version)
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name != name.strip() or name in self.headers:
                raise ValueError(f"header {line!r}")
            self.headers[name] = value.strip()
        self.body = body
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = {}
        for pair in filter(None, query.split("&")):
            name, _, value = pair.partition("=")
            if unquote(name) in self.query:
                raise ValueError(f"parameter {name} twice")
            self.query[unquote(name)] = unquote(value)
        self.bucket = self.key = self.call = ""
        self.account = None

    def header(self, name):
        return self.headers.get(name, "")


class Answer:
    def __init__(self, status, body=b"", headers=None, document=None):
        self.status, self.headers = status, dict(headers or {})
        self.body = body
        if document is not None:
            self.body = ('<?xml version="1.0" encoding="UTF-8"?>\n' + document).encode()
            self.headers["Content-Type"] = "application/xml"


def element(name, *inside):
    return f"<{name}>{''.join(inside)}</{name}>"


def text(name, value):
    return f"<{name}>{escape(str(value))}</{name}>"


def md5_base64(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def document_of(body, root):
    try:
        tree = ET.fromstring(body)
    except ET.ParseError:
        tree = None
    if tree is None or tree.tag.rpartition("}")[2] != root:
        raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our "
                                           "published schema.")
    return tree


# ----------------------------------------------------------------------------------- signatures

def signature_v4(request, secret, scope, additional):
    """Of what was sent, as the manual says; written without a look at our own signer."""
    day, region, product, end = scope.split("/")
    names = sorted(name for name in request.headers
                   if name.startswith("x-oss-") or name in ("content-type", "content-md5") or name in additional)
    safe = "-_.~"
    query = sorted((quote(k, safe=safe), quote(v, safe=safe)) for k, v in request.query.items())
    uri = "/" + (request.bucket + "/" + request.key if request.bucket else "")
    canonical = "\n".join([
        request.method,
        quote(uri, safe=safe + "/"),
        "&".join(k + ("=" + v if v else "") for k, v in query),
        "".join(f"{name}:{request.headers[name]}\n" for name in names),
        ";".join(sorted(additional)),
        request.header("x-oss-content-sha256"),
    ])
    to_sign = "\n".join(["OSS4-HMAC-SHA256", request.header("x-oss-date"), scope,
                         hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("aliyun_v4" + secret).encode()
    for part in (day, region, product, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest(), to_sign


def signature_v1(request, secret):
    own = "".join(f"{name}:{request.headers[name]}\n" for name in sorted(request.headers) if name.startswith("x-oss-"))
    parts = sorted((k, v) for k, v in request.query.items() if k in SUBRESOURCES)
    resource = "/" + (request.bucket + "/" + request.key if request.bucket else "")
    if parts:
        resource += "?" + "&".join(k + ("=" + v if v else "") for k, v in parts)
    to_sign = "\n".join([request.method, request.header("content-md5"), request.header("content-type"),
                         request.header("date"), own + resource])
    return base64.b64encode(hmac.new(secret.encode(), to_sign.encode(), hashlib.sha1).digest()).decode(), to_sign


def time_of(value, form):
    try:
        if form == "http":
            return email.utils.parsedate_to_datetime(value).timestamp()
        return calendar.timegm(time.strptime(value, form))
    except (ValueError, TypeError):
        raise Refusal(403, "AccessDenied", "OSS authentication requires a valid Date.", "0002-00000504") from None


class Authentication:
    """Who sends, and whether it is he: by version 4 or 1 of the signature in the Authorization header."""

    def __init__(self, server):
        self.server = server

    def check(self, request):
        given = request.header("authorization")
        if given.startswith("OSS4-HMAC-SHA256 ") and "v4" in self.server.versions:
            self.check_v4(request, given)
        elif given.startswith("OSS ") and "v1" in self.server.versions:
            self.check_v1(request, given)
        elif given:
            raise Refusal(400, "InvalidArgument", "Authorization header is invalid.", "0002-00000211")
        else:
            raise Refusal(403, "AccessDenied", "You have no right to access this object because of bucket acl.",
                          "0003-00000001")

    def check_v4(self, request, given):
        fields = dict(part.strip().partition("=")[::2] for part in given.split(" ", 1)[1].split(","))
        access_key, _, scope = fields.get("Credential", "").partition("/")
        parts = scope.split("/")
        if len(parts) != 4 or parts[2:] != ["oss", "aliyun_v4_request"]:
            raise Refusal(400, "InvalidArgument", "Invalid credential in Authorization header.", "0002-00000213")
        if parts[1] != self.server.region:
            raise Refusal(400, "InvalidArgument", "Invalid signing region in Authorization header.", "0002-00000226")
        if request.header("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise Refusal(400, "InvalidArgument", "x-oss-content-sha256 must be UNSIGNED-PAYLOAD.", "0002-00000212")
        date = request.header("x-oss-date")
        when = time_of(date, "%Y%m%dT%H%M%SZ")
        if not date.startswith(parts[0]):
            raise Refusal(400, "InvalidArgument", "Invalid signing date in Authorization header.", "0002-00000225")
        account = self.account(request, access_key)
        self.check_time(when)
        additional = set(filter(None, fields.get("AdditionalHeaders", "").split(";")))
        self.compare(fields.get("Signature", ""), signature_v4(request, account.secret, scope, additional), access_key)

    def check_v1(self, request, given):
        access_key, colon, signature = given[4:].partition(":")
        if not colon:
            raise Refusal(400, "InvalidArgument", "Authorization header is invalid.", "0002-00000062")
        account = self.account(request, access_key)
        self.check_time(time_of(request.header("date"), "http"))
        self.compare(signature, signature_v1(request, account.secret), access_key)

    def account(self, request, access_key):
        account = self.server.accounts.get(access_key)
        token = request.header("x-oss-security-token")
        if account is None or bool(account.token) != bool(token):
            raise Refusal(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.",
                          "0002-00000902", OSSAccessKeyId=access_key)
        if token != account.token:
            raise Refusal(403, "InvalidSecurityToken", "The security token you provided is invalid.", "0002-00000006")
        if account.expires is not None and account.expires <= self.server.now():
            raise Refusal(403, "SecurityTokenExpired", "The security token you provided has expired.", "0002-00000007")
        request.account = account
        return account

    def check_time(self, when):
        if abs(when - self.server.now()) > SKEW_S:
            raise Refusal(403, "RequestTimeTooSkewed",
                          "The difference between the request time and the current time is too large.",
                          "0002-00000504", MaxAllowedSkewMilliseconds=SKEW_S * 1000)

    @staticmethod
    def compare(given, computed, access_key):
        wanted, to_sign = computed
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature "
                          "you provided. Check your key and signing method.", "0002-00000040",
                          OSSAccessKeyId=access_key, SignatureProvided=given, StringToSign=to_sign)


# ------------------------------------------------------------------------------------ the calls

# (method, has a key, the parameter that tells, or "") -> (name, further parameters, right that is asked for).
CALLS = {
    ("PUT", True, ""): ("put", set(), "PutObject"),
    ("GET", True, ""): ("get", set(), "GetObject"),
    ("HEAD", True, ""): ("head", set(), "GetObject"),
    ("HEAD", True, "objectMeta"): ("head", set(), "GetObject"),
    ("DELETE", True, ""): ("delete", set(), "DeleteObject"),
    ("GET", False, "list-type"): ("list", {"prefix", "delimiter", "start-after", "continuation-token", "max-keys",
                                           "encoding-type", "fetch-owner"}, "ListObjects"),
    ("GET", False, ""): ("list_old", {"prefix", "delimiter", "marker", "max-keys", "encoding-type"}, "ListObjects"),
    ("POST", False, "delete"): ("delete_many", {"encoding-type"}, "DeleteObject"),
    ("GET", False, "versioning"): ("versioning", set(), "GetBucketVersioning"),
    ("PUT", False, "versioning"): ("set_versioning", set(), "PutBucketVersioning"),
    ("POST", True, "uploads"): ("initiate", {"encoding-type"}, "PutObject"),
    ("PUT", True, "partNumber"): ("part", {"uploadId"}, "PutObject"),
    ("POST", True, "uploadId"): ("complete", {"encoding-type"}, "PutObject"),
    ("DELETE", True, "uploadId"): ("abort", set(), "AbortMultipartUpload"),
}
TELLING = ("list-type", "delete", "versioning", "uploads", "partNumber", "uploadId", "objectMeta")


class Calls:
    """What is done with a request whose sender is known."""

    def __init__(self, server):
        self.server = server

    def choose(self, request):
        telling = next((name for name in TELLING if name in request.query), "")
        found = CALLS.get((request.method, bool(request.key), telling))
        if found is None or set(request.query) - found[1] - {telling}:
            raise Refusal(400, "InvalidArgument", f"not served here: {request.method} {request.target}")
        request.call, _, request.right = found

    def run(self, request):
        bucket = self.server.buckets.get(request.bucket)
        if request.right in request.account.denied:
            raise Refusal(403, "AccessDenied", "You have no right to access this object because of bucket acl.",
                          "0003-00000001")
        if bucket is None:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101",
                          BucketName=request.bucket)
        if len(request.key.encode()) > 1023 or request.key[:1] in ("/", "\\"):
            raise Refusal(400, "InvalidObjectName", "The specified object is not valid.", "0016-00000002")
        digest = request.header("content-md5")
        if digest and digest != md5_base64(request.body):
            raise Refusal(400, "InvalidDigest", "The Content-MD5 you specified was invalid.", "0007-00000001")
        return getattr(self, "run_" + request.call)(request, bucket)

    def store(self, request, bucket, body):
        """Puts the object, if the condition lets it; the headers of the answer."""
        forbid = request.header("x-oss-forbid-overwrite")
        if forbid not in ("", "true", "false"):
            raise Refusal(400, "InvalidArgument", "The x-oss-forbid-overwrite header is invalid.", "0016-00000150")
        if self.server.wants_condition and forbid != "true":
            self.server.violations.append(f"{request.call} {request.key} without the condition")
        headers = {}
        if bucket.versioning:  # and the condition is not looked at
            headers["x-oss-version-id"] = "null" if bucket.versioning == "Suspended" else secrets.token_urlsafe(32)
        elif forbid == "true" and request.key in bucket.objects and not self.server.ignores_condition:
            raise Refusal(409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.",
                          "0026-00000011")
        bucket.put(request.key, body)
        headers["ETag"] = bucket.objects[request.key].etag
        return headers

    def run_put(self, request, bucket):
        source = request.header("x-oss-copy-source")
        if source:
            return self.run_copy(request, bucket, source)
        return Answer(200, headers=self.store(request, bucket, request.body))

    def run_copy(self, request, bucket, source):
        """Of one object that is in a bucket of this server, and of at most 1 GB in one go."""
        name, _, key = unquote(source).lstrip("/").partition("/")
        if request.body or not source.startswith("/") or not key:
            raise Refusal(400, "InvalidArgument", "Copy Source must mention the source bucket and key.", "0017-00000105")
        found = self.server.buckets[name].objects.get(key) if name in self.server.buckets else None
        if found is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=key)
        headers = self.store(request, bucket, found.body)
        return Answer(200, headers=headers, document=element(
            "CopyObjectResult", text("ETag", headers["ETag"]),
            text("LastModified", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()))))

    def run_get(self, request, bucket):
        found = self.find(request, bucket)
        body, headers, status = found.body, self.object_headers(bucket, found), 200
        wanted = request.header("range")
        if wanted:
            part = self.range_of(wanted, len(body), request.header("x-oss-range-behavior") == "standard")
            if part is not None:
                headers["Content-Range"] = f"bytes {part[0]}-{part[1]}/{len(body)}"
                body, status = body[part[0]:part[1] + 1], 206
        return Answer(status, body, headers)

    @staticmethod
    def range_of(wanted, size, standard):
        """(first, last), or None for all: what OSS gives for a range that is not within the object."""
        unit, _, pair = wanted.partition("=")
        low, dash, high = pair.partition("-")
        if unit != "bytes" or not dash or not (low or high) or not (low + high).isdigit():
            return None
        first = int(low) if low else size - int(high)
        last = int(high) if low and high else size - 1
        if 0 <= first <= last < size:
            return first, last
        if not standard:
            return None
        if first >= size or first > last:
            raise Refusal(416, "InvalidRange", "The requested range cannot be satisfied.", "0017-00000901")
        return max(first, 0), min(last, size - 1)

    @staticmethod
    def find(request, bucket):
        if request.key not in bucket.objects:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=request.key)
        return bucket.objects[request.key]

    @staticmethod
    def object_headers(bucket, found):
        headers = {"ETag": found.etag, "Last-Modified": found.last_modified(), "x-oss-object-type": "Normal",
                   "x-oss-storage-class": "Standard", "Accept-Ranges": "bytes",
                   "Content-Type": "application/octet-stream"}
        if bucket.versioning:
            headers["x-oss-version-id"] = "null"
        return headers

    def run_head(self, request, bucket):
        found = self.find(request, bucket)
        return Answer(200, found.body, self.object_headers(bucket, found))

    def run_delete(self, request, bucket):
        bucket.remove(request.key)
        return Answer(204)

    def run_delete_many(self, request, bucket):
        if not request.header("content-md5"):
            raise Refusal(400, "MissingArgument", "Missing Some Required Arguments.", "0016-00000502")
        tree = document_of(request.body, "Delete")
        keys = [item.findtext("Key") for item in tree.findall("Object")]
        if not keys or len(keys) > KEYS_MAX or not all(keys):
            raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our "
                                               "published schema.")
        for key in keys:
            bucket.remove(key)
        if tree.findtext("Quiet") == "true":
            return Answer(200)
        return Answer(200, document=element("DeleteResult", *(element("Deleted", text("Key", key)) for key in keys)))

    def run_versioning(self, _request, bucket):
        status = text("Status", bucket.versioning) if bucket.versioning else ""
        return Answer(200, document=element("VersioningConfiguration", status))

    def run_set_versioning(self, request, bucket):
        status = document_of(request.body, "VersioningConfiguration").findtext("Status")
        if status not in ("Enabled", "Suspended"):
            raise Refusal(400, "MalformedXML", "The status is not one.")
        bucket.versioning = status
        return Answer(200)

    # Lists

    @staticmethod
    def page(bucket, prefix, delimiter, after, most):
        """(keys, common prefixes, last thing shown or None when that was all), as bytes order tells."""
        keys, prefixes = [], []
        at = bisect.bisect_right(bucket.keys, after) if after > prefix else bisect.bisect_left(bucket.keys, prefix)
        last = ""
        while at < len(bucket.keys) and bucket.keys[at].startswith(prefix):
            key = bucket.keys[at]
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            shown = key if cut < 0 else key[:cut + len(delimiter)]
            if cut >= 0 and shown <= after:  # of a folder that an earlier page has shown
                at += 1
                continue
            if len(keys) + len(prefixes) == most:
                return keys, prefixes, last
            last = shown
            if cut < 0:
                keys.append(key)
                at += 1
            else:
                prefixes.append(shown)
                at = bisect.bisect_left(bucket.keys, shown[:-1] + chr(ord(shown[-1]) + 1))
        return keys, prefixes, None

    def list_parameters(self, request):
        encoding = request.query.get("encoding-type", "")
        most = request.query.get("max-keys", "100")
        if encoding not in ("", "url") or not most.isdigit() or not 1 <= int(most) <= KEYS_MAX:
            raise Refusal(400, "InvalidArgument", "Invalid argument.", "0016-00000201", ArgumentName="max-keys")
        encode = quote if encoding else str
        return request.query.get("prefix", ""), request.query.get("delimiter", ""), int(most), encode

    @staticmethod
    def list_document(bucket, keys, prefixes, encode, *head):
        def shown(key):
            found = bucket.objects[key]
            when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.written))
            return element("Contents", text("Key", encode(key)), text("LastModified", when), text("ETag", found.etag),
                           text("Type", "Normal"), text("Size", len(found.body)), text("StorageClass", "Standard"))
        return element("ListBucketResult", text("Name", bucket.name), *head, *map(shown, keys),
                       *(element("CommonPrefixes", text("Prefix", encode(prefix))) for prefix in prefixes))

    def run_list(self, request, bucket):
        if request.query["list-type"] != "2":
            raise Refusal(400, "InvalidArgument", "Invalid argument.", ArgumentName="list-type")
        prefix, delimiter, most, encode = self.list_parameters(request)
        after = request.query.get("start-after", "")
        token = request.query.get("continuation-token")
        if token is not None:
            try:
                after = base64.urlsafe_b64decode(token).decode()
            except ValueError:
                raise Refusal(400, "InvalidArgument", "The continuation token is not one.") from None
        keys, prefixes, last = self.page(bucket, prefix, delimiter, after, most)
        head = [text("Prefix", encode(prefix)), text("StartAfter", encode(request.query.get("start-after", ""))),
                text("MaxKeys", most), text("Delimiter", encode(delimiter)),
                text("IsTruncated", str(last is not None).lower()), text("KeyCount", len(keys) + len(prefixes))]
        if encode is quote:
            head.append(text("EncodingType", "url"))
        if last is not None:
            head.append(text("NextContinuationToken", base64.urlsafe_b64encode(last.encode()).decode()))
        return Answer(200, document=self.list_document(bucket, keys, prefixes, encode, *head))

    def run_list_old(self, request, bucket):
        if self.server.wants_condition:
            self.server.violations.append(f"a list without its parameters: {request.target}")
        prefix, delimiter, most, encode = self.list_parameters(request)
        marker = request.query.get("marker", "")
        keys, prefixes, last = self.page(bucket, prefix, delimiter, marker, most)
        head = [text("Prefix", encode(prefix)), text("Marker", encode(marker)), text("MaxKeys", most),
                text("Delimiter", encode(delimiter)), text("IsTruncated", str(last is not None).lower())]
        if encode is quote:
            head.append(text("EncodingType", "url"))
        if last is not None:
            head.append(text("NextMarker", encode(last)))
        return Answer(200, document=self.list_document(bucket, keys, prefixes, encode, *head))

    # Uploads in parts

    def run_initiate(self, request, bucket):
        upload = secrets.token_hex(16).upper()
        bucket.uploads[upload] = (request.key, {})
        return Answer(200, document=element("InitiateMultipartUploadResult", text("Bucket", bucket.name),
                                            text("Key", request.key), text("UploadId", upload)))

    @staticmethod
    def upload_of(request, bucket):
        key, parts = bucket.uploads.get(request.query.get("uploadId"), (None, None))
        if key != request.key:
            raise Refusal(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the "
                          "upload may have been aborted or completed.", "0042-00000002")
        return parts

    def run_part(self, request, bucket):
        parts = self.upload_of(request, bucket)
        number = request.query["partNumber"]
        if not number.isdigit() or not 1 <= int(number) <= 10000:
            raise Refusal(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
        parts[int(number)] = Object(request.body)
        return Answer(200, headers={"ETag": parts[int(number)].etag})

    def run_complete(self, request, bucket):
        parts = self.upload_of(request, bucket)
        listed = [(int(item.findtext("PartNumber") or 0), item.findtext("ETag") or "")
                  for item in document_of(request.body, "CompleteMultipartUpload").findall("Part")]
        numbers = [number for number, _ in listed]
        if numbers != sorted(set(numbers)):
            raise Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for number, etag in listed:
            if number not in parts or parts[number].etag.strip('"') != etag.strip('"').upper():
                raise Refusal(400, "InvalidPart", "One or more of the specified parts could not be found or the specified "
                                                  "entity tag might not have matched the part's entity tag.")
        if not listed or any(len(parts[number].body) < PART_MIN for number in numbers[:-1]):
            raise Refusal(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.")
        body = b"".join(parts[number].body for number in numbers)
        headers = self.store(request, bucket, body)
        etag = hashlib.md5("".join(parts[n].etag.strip('"') for n in numbers).encode()).hexdigest().upper()
        bucket.objects[request.key].etag = headers["ETag"] = f'"{etag}-{len(numbers)}"'
        del bucket.uploads[request.query["uploadId"]]
        return Answer(200, headers=headers, document=element(
            "CompleteMultipartUploadResult", text("Location", f"http://{request.header('host')}/{request.key}"),
            text("Bucket", bucket.name), text("Key", request.key), text("ETag", headers["ETag"])))

    def run_abort(self, request, bucket):
        self.upload_of(request, bucket)
        del bucket.uploads[request.query["uploadId"]]
        return Answer(204)


# ----------------------------------------------------------------------------------- the server

class OssServer:
    """Serves from start() to stop(). `port` stays, so that stop() and start() are a restart; what is stored stays."""

    region = "cn-hangzhou"
    bucket = "holdfast"
    access_key = "LTAI5tHoldfastTest"
    secret_key = "secret-of-holdfast-test"
    domain = "oss.localhost"

    def __init__(self, tls=None, versions=("v4", "v1"), path_style=True):
        self.accounts = {self.access_key: Account(self.secret_key)}
        self.buckets = {self.bucket: Bucket(self.bucket)}
        self.versions, self.path_style, self.tls = versions, path_style, tls
        self.cnames = {}  # host -> bucket
        self.clock_ahead_s = 0
        self.wants_condition = False  # a put without it, or a list without its kind, is a violation
        self.ignores_condition = False
        self.violations = []
        self.faults = []
        self.counts = collections.Counter()  # of calls that were carried out
        self.port = free_port()
        self.thread = self.loop = self.server = self.failed = None
        self.running = threading.Event()
        self.running.set()
        self.connections = set()
        self.authentication, self.calls = Authentication(self), Calls(self)

    def now(self):
        return time.time() + self.clock_ahead_s

    def fault(self, where, what, times=1, after=False):
        """`where` is a function of a Request, or the name of a call."""
        test = (lambda request: request.call == where) if isinstance(where, str) else where
        planted = Fault(test, what, times, after)
        self.faults.append(planted)
        return planted

    @property
    def endpoint(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def virtual_endpoint(self):
        """Under which a bucket has a host name of its own."""
        return f"{'https' if self.tls else 'http'}://{self.domain}:{self.port}"

    def start(self):
        started = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(started,), name="oss", daemon=True)
        self.thread.start()
        if not started.wait(60) or self.failed:
            raise Failure(f"the OSS of the tests does not start: {self.failed}")
        return self

    def run(self, started):
        try:
            asyncio.run(self.serve(started))
        except OSError as error:
            self.failed = error
            started.set()

    async def serve(self, started):
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        self.server = await asyncio.start_server(self.serve_connection, "127.0.0.1", self.port, ssl=context,
                                                 limit=64 * 1024, backlog=1024)
        started.set()
        await self.stopping.wait()
        self.server.close()
        for task in list(self.connections):
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    def stop(self):
        self.resume()
        if self.thread and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopping.set)
            self.thread.join(60)

    def pause(self):
        """As SIGSTOP: connections are accepted by the kernel, and nothing is answered."""
        self.running.clear()
        self.loop.call_soon_threadsafe(self.running.wait)

    def resume(self):
        self.running.set()

    def settings(self):
        """The daemon's settings for this server."""
        return {"oss.endpoint": self.endpoint, "oss.region": self.region, "oss.address-style": "path",
                "oss.access-key": self.access_key, "oss.secret-key": self.secret_key}

    def environment(self):
        """For tests/contract."""
        return {"HF_TEST_OSS_ENDPOINT": self.endpoint, "HF_TEST_OSS_VIRTUAL_ENDPOINT": self.virtual_endpoint,
                "HF_TEST_OSS_BUCKET": self.bucket, "HF_TEST_OSS_REGION": self.region,
                "HF_TEST_OSS_ACCESS_KEY": self.access_key, "HF_TEST_OSS_SECRET_KEY": self.secret_key}

    # One connection

    async def serve_connection(self, reader, writer):
        task = asyncio.current_task()
        self.connections.add(task)
        try:
            while await self.serve_request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(task)
            writer.transport.abort()

    async def read_request(self, reader):
        first = await reader.readexactly(1)
        if not first.isalpha():  # the start of TLS, for example
            raise ConnectionError("not HTTP")
        head = first + await reader.readuntil(b"\r\n\r\n")
        request = Request(head[:-4].decode("latin-1"), b"")
        length = request.headers.get("content-length")
        if length is not None:
            if not length.isdigit() or int(length) > BODY_MAX:
                raise ValueError(f"length {length}")
            request.body = await reader.readexactly(int(length))
        elif request.method in ("PUT", "POST"):
            raise ValueError("no length")
        return request

    async def serve_request(self, reader, writer):
        """True when the connection can take another one."""
        try:
            request = await self.read_request(reader)
        except (ValueError, asyncio.LimitOverrunError) as error:
            self.violations.append(f"not a request: {error}")
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        answer = await self.answer(request)
        if answer is None:
            return False
        is_half = isinstance(answer, tuple)
        answer = answer[0] if is_half else answer
        body = b"" if request.method == "HEAD" else answer.body
        headers = {"Server": "AliyunOSS", "Date": email.utils.formatdate(self.now(), usegmt=True),
                   "Content-Length": str(len(answer.body)), "x-oss-server-time": "1", **answer.headers}
        if answer.status == 204:
            del headers["Content-Length"]
        lines = [f"HTTP/1.1 {answer.status} {'OK' if answer.status < 300 else 'Error'}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        writer.write(head + (body[:len(body) // 2] if is_half else body))
        await writer.drain()
        return not is_half and request.header("connection").lower() != "close"

    async def answer(self, request):
        """An Answer; one in a tuple to send the half of; None to send nothing."""
        request_id = secrets.token_hex(12).upper()
        try:
            self.place(request)
            self.calls.choose(request)
            answer = await self.meet_faults(request, None, after=False)
            if answer is not None:
                return None if answer == "cut" else answer
            self.authentication.check(request)
            done = self.calls.run(request)
            self.counts[request.call] += 1
            answer = await self.meet_faults(request, done, after=True)
            if answer is not None:
                return None if answer == "cut" else answer
        except Refusal as refusal:
            done = self.refuse(request, refusal, request_id)
        done.headers["x-oss-request-id"] = request_id
        return done

    async def meet_faults(self, request, done, after):
        for fault in list(self.faults):
            if not fault.take(request, after):
                continue
            if isinstance(fault.what, Refusal):
                raise fault.what
            if fault.what == "half":
                return (done,)
            if fault.what == "cut":
                return "cut"
            await asyncio.sleep(fault.what)
        return None

    def place(self, request):
        """Bucket and key, by the host's name or by the path."""
        host = request.header("host").rpartition(":")[0] or request.header("host")
        path = request.path.removeprefix("/")
        if host in self.cnames:
            request.bucket, request.key = self.cnames[host], path
        elif host.endswith("." + self.domain):
            request.bucket, request.key = host.removesuffix("." + self.domain), path
        elif host not in ("127.0.0.1", "localhost", self.domain):
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101", BucketName=host)
        elif not self.path_style:
            raise Refusal(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.",
                          "0016-00000901")
        else:
            request.bucket, _, request.key = path.partition("/")

    @staticmethod
    def refuse(request, refusal, request_id):
        inside = [text("Code", refusal.code), text("Message", refusal.message), text("RequestId", request_id),
                  text("HostId", request.header("host"))]
        inside += [text(name, value) for name, value in refusal.more.items()]
        if refusal.ec:
            inside += [text("EC", refusal.ec)]
        answer = Answer(refusal.status, document=element("Error", *inside))
        if refusal.ec:
            answer.headers["x-oss-ec"] = refusal.ec
        if request.method == "HEAD":  # what would be in the body
            answer.headers["x-oss-err"] = base64.b64encode(answer.body).decode()
        return answer
