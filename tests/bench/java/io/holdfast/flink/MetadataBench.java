package io.holdfast.flink;

import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.nio.file.Files;
import java.nio.file.Paths;

/** Reads one {@code _metadata} as Flink itself does at a recovery: milliseconds of the reading alone, on standard output. */
public final class MetadataBench {
    public static void main(String[] args) throws Exception {
        long begin = System.nanoTime();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(Paths.get(args[0]))))) {
            CheckpointMetadata metadata =
                    Checkpoints.loadCheckpointMetadata(in, MetadataBench.class.getClassLoader(), args[0]);
            long ended = System.nanoTime();
            if (metadata.getOperatorStates().size() != 1) {
                throw new IllegalStateException("one operator was written");
            }
            System.out.println((ended - begin) / 1_000_000);
        }
    }

    private MetadataBench() {}
}
