package io.holdfast.flink;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;

/**
 * An executor that knows when the deletions handed to it so far are finished.
 *
 * <p>Flink deletes a checkpoint's {@code _metadata} first and its files after it, so a killed JobManager leaves files
 * that nobody can name any more. Here the last step of a discard, removing {@code _metadata} and the folder, waits
 * until every deletion that was scheduled before it is over; until then whoever comes next can read what is to go.
 */
final class DeletionTracker implements Executor {
    private final Executor executor;
    private final TreeSet<Long> running = new TreeSet<>();
    private final List<Barrier> barriers = new ArrayList<>();
    private final List<Runnable> waitingForRelease = new ArrayList<>();
    private long tickets;
    private int holds;

    private static final class Barrier {
        final long ticket;
        final Runnable step;

        Barrier(long ticket, Runnable step) {
            this.ticket = ticket;
            this.step = step;
        }
    }

    DeletionTracker(Executor executor) {
        this.executor = executor;
    }

    @Override
    public void execute(Runnable task) {
        long ticket;
        synchronized (this) {
            ticket = tickets++;
            running.add(ticket);
        }
        try {
            executor.execute(
                    () -> {
                        try {
                            task.run();
                        } finally {
                            over(ticket);
                        }
                    });
        } catch (RuntimeException e) {
            over(ticket);
            throw e;
        }
    }

    private void over(long ticket) {
        synchronized (this) {
            running.remove(ticket);
        }
        runReady();
    }

    /** Runs {@code step} when all that was scheduled until now is over; while held, until the hold is released. */
    void afterPending(Runnable step) {
        synchronized (this) {
            if (holds > 0) {
                waitingForRelease.add(step);
            } else {
                barriers.add(new Barrier(tickets, step));
            }
        }
        runReady();
    }

    /** For the time in which Flink is still scheduling deletions that belong together. */
    synchronized void hold() {
        holds++;
    }

    void release() {
        synchronized (this) {
            if (--holds == 0) {
                waitingForRelease.forEach(step -> barriers.add(new Barrier(tickets, step)));
                waitingForRelease.clear();
            }
        }
        runReady();
    }

    private void runReady() {
        List<Runnable> ready = new ArrayList<>();
        synchronized (this) {
            long oldest = running.isEmpty() ? Long.MAX_VALUE : running.first();
            for (Iterator<Barrier> each = barriers.iterator(); each.hasNext(); ) {
                Barrier barrier = each.next();
                if (barrier.ticket <= oldest) {
                    ready.add(barrier.step);
                    each.remove();
                }
            }
        }
        for (Runnable step : ready) {
            try {
                executor.execute(step);
            } catch (RejectedExecutionException e) {
                step.run(); /* the process is ending; what is due is still done */
            }
        }
    }
}
