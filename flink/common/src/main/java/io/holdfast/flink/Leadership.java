package io.holdfast.flink;

import java.util.UUID;

/** One grant: the session that holds it, its fence, and Flink's leader session id. */
final class Leadership {
    final String session;
    final long fence;
    final UUID leaderSession;

    Leadership(String session, long fence, UUID leaderSession) {
        this.session = session;
        this.fence = fence;
        this.leaderSession = leaderSession;
    }

    boolean same(Leadership other) {
        return other != null && session.equals(other.session) && fence == other.fence;
    }
}
