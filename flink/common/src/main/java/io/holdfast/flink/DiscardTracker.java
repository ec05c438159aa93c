package io.holdfast.flink;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;

/**
 * An executor that knows when all deletions handed to it are finished.
 *
 * <p>Flink deletes a checkpoint's `_metadata` first and its files after it, so a killed JobManager leaves files that
 * nobody can name any more. Here the last step of each discard, removing `_metadata` and the folder, waits until no
 * deletion is under way; until then whoever comes next can still read what is to be deleted.
 */
final class DiscardTracker implements Executor {
    private static final Logger LOG = LoggerFactory.getLogger(DiscardTracker.class);

    /** The last step of one discard. */
    interface LastStep {
        void run() throws Exception;
    }

    private final Executor executor;
    private final List<Long> finished = new ArrayList<>();
    private List<LastStep> steps = new ArrayList<>();
    private List<Long> ids = new ArrayList<>();
    private int running;

    DiscardTracker(Executor executor) {
        this.executor = executor;
    }

    @Override
    public void execute(Runnable task) {
        synchronized (this) {
            running++;
        }
        try {
            executor.execute(
                    () -> {
                        try {
                            task.run();
                        } finally {
                            finishOne();
                        }
                    });
        } catch (RuntimeException e) {
            finishOne();
            throw e;
        }
    }

    private void finishOne() {
        List<LastStep> last;
        List<Long> done;
        synchronized (this) {
            if (--running > 0) {
                return;
            }
            last = steps;
            done = ids;
            steps = new ArrayList<>();
            ids = new ArrayList<>();
        }
        for (int i = 0; i < last.size(); i++) {
            try {
                last.get(i).run();
                synchronized (this) {
                    finished.add(done.get(i));
                }
            } catch (Exception e) {
                LOG.warn("Holdfast: checkpoint {} is not wholly deleted; it is tried again after the next recovery",
                        done.get(i), e);
            }
        }
    }

    /** To be called from a task of this executor; runs when none is left. */
    void atLast(long checkpoint, LastStep step) {
        synchronized (this) {
            steps.add(step);
            ids.add(checkpoint);
            if (running > 0) {
                return;
            }
        }
        execute(() -> {});
    }

    synchronized void finished(long checkpoint) {
        finished.add(checkpoint);
    }

    /** Checkpoints whose discard is complete and not reported yet. */
    synchronized List<Long> takeFinished() {
        List<Long> taken = new ArrayList<>(finished);
        finished.clear();
        return taken;
    }

    synchronized void giveBack(List<Long> notReported) {
        finished.addAll(notReported);
    }
}
