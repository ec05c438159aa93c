package io.holdfast.flink;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * What one job has to delete: discards that are under way, those that failed, and those that are finished and not yet
 * reported to the daemon.
 */
final class Discards {
    private final Set<Long> open = new HashSet<>();
    private final Set<Long> failed = new HashSet<>();
    private final Set<Long> finished = new LinkedHashSet<>();

    synchronized void begun(long id) {
        open.add(id);
        failed.remove(id);
    }

    synchronized void finished(long id) {
        open.remove(id);
        failed.remove(id);
        finished.add(id);
        notifyAll();
    }

    synchronized void failed(long id) {
        open.remove(id);
        failed.add(id);
        notifyAll();
    }

    /** At most {@code limit} of the finished ones, to be reported with the next call. */
    synchronized List<Long> takeFinished(int limit) {
        List<Long> taken = new ArrayList<>();
        for (long id : finished) {
            if (taken.size() == limit) {
                break;
            }
            taken.add(id);
        }
        taken.forEach(finished::remove);
        return taken;
    }

    synchronized void giveBack(List<Long> notReported) {
        finished.addAll(notReported);
    }

    synchronized Set<Long> failed() {
        return new HashSet<>(failed);
    }

    /** Waits until nothing is under way; false when it took too long. */
    synchronized boolean await(Duration timeout) throws InterruptedException {
        long deadline = System.nanoTime() + timeout.toNanos();
        while (!open.isEmpty()) {
            long left = (deadline - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                return false;
            }
            wait(left);
        }
        return true;
    }
}
