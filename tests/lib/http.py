"""The few HTTP calls the tests make, with the answer's status always in view."""
import json
import urllib.error
import urllib.request
import uuid


def call(method, url, body=None, content_type="application/json", timeout=10, headers=None, raw=False, context=None):
    """(status, parsed JSON or text; bytes when raw). A refused or broken connection is (0, reason): callers poll through outages."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    if body is not None:
        request.add_header("Content-Type", content_type)
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            return answer.status, answer.read() if raw else _parsed(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _parsed(error.read())
    except (OSError, urllib.error.URLError) as error:
        return 0, str(error)
    except Exception as error:  # http.client raises its own kinds when a server dies inside an answer
        if type(error).__module__ != "http.client":
            raise
        return 0, repr(error)


def upload(url, field, name, data, timeout=60):
    """One file as multipart/form-data."""
    boundary = uuid.uuid4().hex
    body = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n"
            "Content-Type: application/x-java-archive\r\n\r\n").encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return call("POST", url, body, f"multipart/form-data; boundary={boundary}", timeout)


def _parsed(data):
    text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
