package io.holdfast.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.InstantiationUtil;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Checkpoints as entries of the protocol, and back. There is no second copy of a checkpoint's metadata. */
final class CheckpointCodec {
    static final int INLINE_MAX = 512 * 1024;

    private static final String NOT_ADDRESSABLE = "<checkpoint-not-externally-addressable>";

    /** What is stored cannot be read, and trying again will not change that. */
    static final class Unreadable extends IOException {
        private static final long serialVersionUID = 1L;

        Unreadable(String message, Throwable cause) {
            super(message, cause);
        }
    }

    private CheckpointCodec() {}

    static boolean isAddressable(String pointer) {
        return pointer != null && !pointer.isEmpty() && !pointer.equals(NOT_ADDRESSABLE);
    }

    // ----------------------------------------------------------------- write

    static ObjectNode entry(CompletedCheckpoint checkpoint) throws IOException {
        ObjectNode body = Client.object();
        body.put("id", checkpoint.getCheckpointID());
        if (isAddressable(checkpoint.getExternalPointer())) {
            body.put("pointer", checkpoint.getExternalPointer());
        } else {
            byte[] metadata = checkpoint.getMetadataHandle().asBytesIfInMemory().orElse(null);
            if (metadata == null || metadata.length > INLINE_MAX) {
                throw new IOException(
                        "checkpoint " + checkpoint.getCheckpointID() + " has no folder, and its metadata "
                                + (metadata == null ? "is not in memory" : "of " + metadata.length + " bytes is too large")
                                + " to be kept by Holdfast: set execution.checkpointing.dir");
            }
            body.put("inline", Base64.getEncoder().encodeToString(metadata));
        }
        body.put("started_ms", checkpoint.getTimestamp());
        body.put("completed_ms", checkpoint.getCompletionTimestamp());
        body.put("size", checkpoint.getStateSize());
        body.set("properties", properties(checkpoint));
        return body;
    }

    private static ObjectNode properties(CompletedCheckpoint checkpoint) {
        CheckpointProperties props = checkpoint.getProperties();
        ObjectNode node = Client.object();
        SnapshotType type = props.getCheckpointType();
        /* A full checkpoint is known by its sharing; for retention there are checkpoints and savepoints. */
        node.put("type", type.isSavepoint() ? "SAVEPOINT" : "CHECKPOINT");
        node.put("sharing", type.getSharingFilesStrategy().name());
        if (type instanceof SavepointType) {
            node.put("format", ((SavepointType) type).getFormatType().name());
            node.put("post_action", ((SavepointType) type).getPostCheckpointAction().name());
        } else {
            node.putNull("format");
            node.putNull("post_action");
        }
        node.put("forced", false);
        node.put("unclaimed", props.isUnclaimed());
        ArrayNode on = node.putArray("discard_on");
        add(on, checkpoint.shouldBeDiscardedOnSubsume(), "subsumed");
        add(on, checkpoint.shouldBeDiscardedOnShutdown(JobStatus.FINISHED), "finished");
        add(on, checkpoint.shouldBeDiscardedOnShutdown(JobStatus.CANCELED), "canceled");
        add(on, checkpoint.shouldBeDiscardedOnShutdown(JobStatus.FAILED), "failed");
        add(on, checkpoint.shouldBeDiscardedOnShutdown(JobStatus.SUSPENDED), "suspended");
        /* Flink does not tell this one; all others being equal, it is the difference. */
        node.put("forced", !properties(node).equals(props));
        return node;
    }

    private static void add(ArrayNode to, boolean when, String name) {
        if (when) {
            to.add(name);
        }
    }

    // ------------------------------------------------------------------ read

    static CheckpointProperties properties(JsonNode node) {
        SnapshotType type;
        if (node.path("type").asText().equals("SAVEPOINT")) {
            SavepointFormatType format = SavepointFormatType.valueOf(node.path("format").asText("CANONICAL"));
            switch (node.path("post_action").asText("NONE")) {
                case "TERMINATE":
                    type = SavepointType.terminate(format);
                    break;
                case "SUSPEND":
                    type = SavepointType.suspend(format);
                    break;
                default:
                    type = SavepointType.savepoint(format);
            }
        } else if (node.path("sharing").asText().equals("FORWARD")) {
            type = CheckpointType.FULL_CHECKPOINT;
        } else {
            type = CheckpointType.CHECKPOINT;
        }
        Set<String> on = discardOn(node);
        return new CheckpointProperties(
                node.path("forced").asBoolean(), type, on.contains("subsumed"), on.contains("finished"),
                on.contains("canceled"), on.contains("failed"), on.contains("suspended"),
                node.path("unclaimed").asBoolean());
    }

    private static Set<String> discardOn(JsonNode properties) {
        Set<String> on = new HashSet<>();
        properties.path("discard_on").forEach(each -> on.add(each.asText()));
        return on;
    }

    /** Whether the files are the job's own; others' are never deleted. */
    static boolean isOurs(JsonNode entry) {
        return discardOn(entry.path("properties")).contains("subsumed")
                && !entry.path("properties").path("unclaimed").asBoolean();
    }

    /** Reads the files that an entry points to. {@link Unreadable}: they are gone or damaged; else try again. */
    static OwnedCheckpoint load(JobID job, JsonNode entry, DeletionTracker tracker, Discards discards)
            throws IOException {
        String pointer = entry.path("pointer").asText("");
        CompletedCheckpointStorageLocation location;
        byte[] bytes;
        if (entry.hasNonNull("inline")) {
            bytes = Base64.getDecoder().decode(entry.path("inline").asText());
            pointer = NOT_ADDRESSABLE;
            location = new OwnedCheckpoint.Folder(
                    pointer, new org.apache.flink.runtime.state.memory.ByteStreamStateHandle("inline", bytes));
        } else {
            try {
                location = AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
                bytes = readAll(location);
            } catch (FileNotFoundException e) {
                throw new Unreadable(e.getMessage(), e);
            }
        }
        try {
            return parse(job, entry, pointer, location, bytes, tracker, discards);
        } catch (IOException | RuntimeException e) {
            throw new Unreadable("its _metadata of " + bytes.length + " bytes is damaged: " + e, e);
        }
    }

    private static byte[] readAll(CompletedCheckpointStorageLocation location) throws IOException {
        try (FSDataInputStream in = location.getMetadataHandle().openInputStream()) {
            ByteArrayOutputStream out = new ByteArrayOutputStream(
                    (int) Math.max(32, Math.min(location.getMetadataHandle().getStateSize(), 1 << 24)));
            byte[] piece = new byte[64 * 1024];
            for (int n = in.read(piece); n >= 0; n = in.read(piece)) {
                out.write(piece, 0, n);
            }
            return out.toByteArray();
        }
    }

    private static OwnedCheckpoint parse(
            JobID job, JsonNode entry, String pointer, CompletedCheckpointStorageLocation location, byte[] bytes,
            DeletionTracker tracker, Discards discards) throws IOException {
        CheckpointMetadata metadata =
                Checkpoints.loadCheckpointMetadata(
                        new DataInputStream(new ByteArrayInputStream(bytes)),
                        Thread.currentThread().getContextClassLoader(),
                        pointer);
        Map<OperatorID, OperatorState> operators = new HashMap<>();
        metadata.getOperatorStates().forEach(each -> operators.put(each.getOperatorID(), each));
        return new OwnedCheckpoint(
                job, entry.path("id").asLong(), entry.path("started_ms").asLong(), entry.path("completed_ms").asLong(),
                operators, metadata.getMasterStates(), properties(entry.path("properties")), location,
                metadata.getCheckpointProperties(), tracker, discards);
    }
}
