"""What Maven's test reports say: the files that surefire writes, one for each test class."""
import xml.etree.ElementTree as ElementTree
from pathlib import Path


class Report:
    """Counts over all classes of one run, and the name and first line of each test that did not pass."""

    def __init__(self, folder):
        self.passed = self.skipped = 0
        self.failures = []
        for path in sorted(Path(folder).glob("TEST-*.xml")):
            for case in ElementTree.parse(path).getroot().iter("testcase"):
                self._note(case)

    def _note(self, case):
        bad = next((child for child in case if child.tag in ("failure", "error")), None)
        if bad is not None:
            reason = (bad.get("message") or bad.text or bad.get("type") or "no reason given").strip()
            name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
            self.failures.append(f"{name}: {reason.splitlines()[0][:300]}")
        elif case.find("skipped") is not None:
            self.skipped += 1
        else:
            self.passed += 1
