package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.plugin.PluginUtils;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;

import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Deletes the files of a checkpoint as Flink's CheckpointsCleaner does, each by its handle on the pool for such calls, and prints the
 * milliseconds that it took. Arguments: the folder's URI, the number of files (named by UUIDs from 0 on), key=value settings.
 */
public final class DiscardBench {
    public static void main(String[] args) throws Exception {
        Configuration settings = new Configuration();
        for (int i = 2; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            settings.setString(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        FileSystem.initialize(settings, PluginUtils.createPluginManagerFromRootFolder(settings));
        // cluster.io-pool.size is four times the cores by default.
        ExecutorService pool = Executors.newFixedThreadPool(4 * Runtime.getRuntime().availableProcessors());
        List<Callable<Void>> calls = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(args[1]); i++) {
            FileStateHandle handle = new FileStateHandle(new Path(args[0], new UUID(0, i).toString()), 0);
            calls.add(() -> {
                handle.discardState();
                return null;
            });
        }
        long begin = System.nanoTime();
        for (Future<Void> done : pool.invokeAll(calls)) {
            done.get();
        }
        System.out.println((System.nanoTime() - begin) / 1_000_000);
        pool.shutdown();
    }

    private DiscardBench() {}
}
