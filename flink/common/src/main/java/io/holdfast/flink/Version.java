package io.holdfast.flink;

import org.apache.flink.runtime.persistence.ResourceVersion;

/** A revision of Holdfast as Flink's resource version; -1 for absent. */
final class Version implements ResourceVersion<Version> {
    private static final long serialVersionUID = 1L;
    static final Version ABSENT = new Version(-1);

    final long revision;

    Version(long revision) {
        this.revision = revision;
    }

    @Override
    public boolean isExisting() {
        return revision >= 0;
    }

    @Override
    public int compareTo(Version other) {
        return Long.compare(revision, other.revision);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Version && ((Version) other).revision == revision;
    }

    @Override
    public int hashCode() {
        return Long.hashCode(revision);
    }

    @Override
    public String toString() {
        return Long.toString(revision);
    }
}
