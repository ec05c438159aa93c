package io.holdfast.flink;

import java.util.concurrent.Callable;

/** Waits for something to be seen, with a bound. */
final class Await {
    private Await() {}

    static void until(String what, Callable<Boolean> condition) throws Exception {
        until(what, 90, condition);
    }

    static void until(String what, int seconds, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not seen within " + seconds + " s: " + what);
            }
            Thread.sleep(10);
        }
    }
}
