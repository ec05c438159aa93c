"""Reading the log files of Flink's processes: what happened, and when to the millisecond."""
import datetime
import re

from .failure import wait_until

_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z (\w+) +(.*)$")


class Line:
    """One log line: seconds since the epoch, level, text (thread, logger and message)."""

    __slots__ = ("time", "level", "text", "index")

    def __init__(self, time, level, text, index):
        self.time = time
        self.level = level
        self.text = text
        self.index = index


class LogFile:
    """A growing log file. Lines without a time (stack traces) are joined to the line before them by time alone."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self._offset = 0
        self._rest = b""

    def refresh(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return self
        self._offset += len(data)
        complete = (self._rest + data).split(b"\n")
        self._rest = complete.pop()
        for raw in complete:
            self._append(raw.decode("utf-8", "replace"))
        return self

    def _append(self, text):
        match = _LINE.match(text)
        if match:
            moment = datetime.datetime.fromisoformat(match[1]).replace(tzinfo=datetime.timezone.utc)
            self.lines.append(Line(moment.timestamp(), match[2], match[3], len(self.lines)))
        else:
            before = self.lines[-1].time if self.lines else 0.0
            self.lines.append(Line(before, "", text, len(self.lines)))

    def mark(self):
        """The number of lines so far: a starting point for later searches."""
        return len(self.refresh().lines)

    def find(self, pattern, start=0):
        """All (line, match) with `pattern` from line number `start` on."""
        regex = re.compile(pattern)
        self.refresh()
        found = ((line, regex.search(line.text)) for line in self.lines[start:])
        return [(line, match) for line, match in found if match]

    def first(self, pattern, start=0):
        found = self.find(pattern, start)
        return found[0] if found else None

    def last(self, pattern, start=0):
        found = self.find(pattern, start)
        return found[-1] if found else None

    def wait_for(self, pattern, timeout, what, start=0, process=None, poll=0.02):
        """Waits for the first line with `pattern`; ends early when the process that writes the log is gone."""
        def look():
            found = self.first(pattern, start)
            if not found and process is not None:
                process.require_alive()
            return found
        return wait_until(look, timeout, f"{what} in {self.path}", poll)
