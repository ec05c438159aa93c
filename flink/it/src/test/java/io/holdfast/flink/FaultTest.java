package io.holdfast.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.holdfast.flink.FakeDaemon.Fault;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointRetentionPolicy;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.CheckpointsCleaner;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStore;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.leaderelection.LeaderElectionDriver;
import org.apache.flink.runtime.leaderelection.LeaderInformation;
import org.apache.flink.runtime.leaderelection.LeaderInformationRegister;
import org.apache.flink.runtime.persistence.PossibleInconsistentStateException;
import org.apache.flink.runtime.persistence.StateHandleStore;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.DataOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/** What the plugin does when answers are lost, late or bad. */
@Timeout(60)
class FaultTest {
    private static final JobID JOB = new JobID(1, 2);

    @TempDir Path folder;
    private FakeDaemon daemon;
    private Cluster cluster;
    private Events events;
    private LeaderElectionDriver driver;

    /** Notes what Flink is told, and that grants and revokes alternate. */
    private static final class Events implements LeaderElectionDriver.Listener {
        final List<String> told = Collections.synchronizedList(new ArrayList<>());
        volatile UUID granted;

        @Override
        public void onGrantLeadership(UUID session) {
            granted = session;
            told.add("grant");
        }

        @Override
        public void onRevokeLeadership() {
            granted = null;
            told.add("revoke");
        }

        @Override
        public void onLeaderInformationChange(String component, LeaderInformation information) {
            told.add("change");
        }

        @Override
        public void onLeaderInformationChange(LeaderInformationRegister register) {
            told.add("change");
        }

        @Override
        public void onError(Throwable error) {
            told.add("error " + error);
        }

        void expect(String... wanted) throws Exception {
            Await.until("told " + List.of(wanted) + ", is " + told, () -> told.size() >= wanted.length);
            assertEquals(List.of(wanted), new ArrayList<>(told));
        }
    }

    private Configuration configuration() {
        Configuration configuration = new Configuration();
        configuration.setString(HoldfastOptions.ENDPOINTS.key(), daemon.endpoint());
        configuration.setString(HighAvailabilityOptions.HA_CLUSTER_ID.key(), "/test");
        configuration.setString(HoldfastOptions.SESSION_TIMEOUT.key(), "10 s");
        configuration.setString(HoldfastOptions.COMMIT_TIMEOUT.key(), "2 s");
        return configuration;
    }

    @BeforeEach
    void lead() throws Exception {
        daemon = new FakeDaemon();
        daemon.ttl = 10000;
        cluster = new Cluster(configuration());
        events = new Events();
        driver = cluster.elect(events);
        events.expect("grant");
        assertTrue(driver.hasLeadership());
    }

    @AfterEach
    void stop() throws Exception {
        driver.close();
        cluster.close();
        daemon.close();
    }

    private CompletedCheckpoint checkpoint(long id) throws Exception {
        Path chk = Files.createDirectories(folder.resolve("chk-" + id));
        try (DataOutputStream out = new DataOutputStream(Files.newOutputStream(chk.resolve("_metadata")))) {
            Checkpoints.storeCheckpointMetadata(
                    new CheckpointMetadata(id, Collections.emptyList(), Collections.emptyList()), out);
        }
        return new CompletedCheckpoint(
                JOB, id, 1000 + id, 2000 + id, Collections.emptyMap(), null,
                CheckpointProperties.forCheckpoint(CheckpointRetentionPolicy.NEVER_RETAIN_AFTER_TERMINATION),
                AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(chk.toUri().toString()), null);
    }

    private CompletedCheckpointStore store() throws Exception {
        return store(cluster);
    }

    private static CompletedCheckpointStore store(Cluster of) throws Exception {
        return of.recovery().recover(
                JOB, 1, (deleter, known) -> new SharedStateRegistryImpl(deleter), Executors.directExecutor());
    }

    private void add(CompletedCheckpointStore store, long id) throws Exception {
        store.addCheckpointAndSubsumeOldestOne(checkpoint(id), new CheckpointsCleaner(), () -> {});
    }

    // ---------------------------------------------------------------- writes

    @Test
    void lost_answer_of_a_commit_is_asked_again_and_counts_once() throws Exception {
        CompletedCheckpointStore store = store();
        daemon.fault(Fault.LOSE_ANSWER, "POST /v1/clusters/default/test/jobs", 1);
        add(store, 1);
        assertEquals(List.of(1L), daemon.checkpoints(JOB.toHexString()));
        assertEquals(2, daemon.count("/checkpoints") - 1 /* the list at recovery */);
    }

    @Test
    void unavailable_daemon_is_waited_for() throws Exception {
        CompletedCheckpointStore store = store();
        daemon.fault(Fault.UNAVAILABLE, "/checkpoints", 4);
        add(store, 1);
        assertEquals(List.of(1L), daemon.checkpoints(JOB.toHexString()));
    }

    @Test
    void outcome_that_stays_unknown_is_reported_as_possibly_written() throws Exception {
        CompletedCheckpointStore store = store();
        daemon.faults(request -> request.endsWith("/checkpoints") ? Fault.UNKNOWN : Fault.NONE);
        assertThrows(PossibleInconsistentStateException.class, () -> add(store, 1));
    }

    /** Leads on an installation of two replicas, with times so long that waiting for them fails the test. */
    private void leadWithTwoReplicas() throws Exception {
        driver.close();
        cluster.close();
        daemon.ttl = 60_000;
        Configuration configuration = configuration();
        configuration.setString(HoldfastOptions.ENDPOINTS.key(), daemon.endpoint() + ";" + daemon.standby());
        configuration.setString(HoldfastOptions.SESSION_TIMEOUT.key(), "60 s");
        configuration.setString(HoldfastOptions.REQUEST_TIMEOUT.key(), "30 s");
        configuration.setString(HoldfastOptions.COMMIT_TIMEOUT.key(), "20 s");
        cluster = new Cluster(configuration);
        events = new Events();
        driver = cluster.elect(events);
        events.expect("grant");
    }

    private String ownerToldBy(String setting) throws Exception {
        driver.close();
        cluster.close();
        Configuration configuration = configuration();
        configuration.setString(HoldfastOptions.OWNER.key(), setting);
        cluster = new Cluster(configuration);
        events = new Events();
        driver = cluster.elect(events);
        events.expect("grant");
        return daemon.owner;
    }

    @Test
    void owner_is_told_when_there_is_one_and_to_whom_it_means_something() throws Exception {
        assertNull(daemon.owner);
        assertEquals("team a", ownerToldBy("team a"));
        assertNull(ownerToldBy("none"));
        daemon.knowsOwners = false;
        assertNull(ownerToldBy("team a"));
    }

    @Test
    void replica_that_sleeps_is_left_for_the_one_that_leads() throws Exception {
        leadWithTwoReplicas();
        CompletedCheckpointStore store = store();
        add(store, 1);
        daemon.asleep = true;
        add(store, 2);
        add(store, 3);
        assertEquals(List.of(3L), daemon.checkpoints(JOB.toHexString()));
        assertEquals(List.of("grant"), new ArrayList<>(events.told));
    }

    @Test
    void replica_that_is_slow_is_waited_for_while_no_other_one_leads() throws Exception {
        leadWithTwoReplicas();
        CompletedCheckpointStore store = store();
        long before = daemon.count("POST /v1/clusters/default/test/jobs");
        daemon.fault(Fault.SLOW, "POST /v1/clusters/default/test/jobs", 1);
        add(store, 1);
        assertEquals(List.of(1L), daemon.checkpoints(JOB.toHexString()));
        assertEquals(1, daemon.count("POST /v1/clusters/default/test/jobs") - before);
    }

    @Test
    void unavailable_to_the_end_is_a_definite_no() throws Exception {
        CompletedCheckpointStore store = store();
        daemon.faults(request -> request.endsWith("/checkpoints") ? Fault.UNAVAILABLE : Fault.NONE);
        Exception e = assertThrows(HoldfastException.class, () -> add(store, 1));
        assertFalse(e instanceof PossibleInconsistentStateException);
    }

    @Test
    void fenced_write_is_a_definite_no_and_ends_the_leadership() throws Exception {
        CompletedCheckpointStore store = store();
        daemon.fenceSilently();
        HoldfastException e = assertThrows(HoldfastException.class, () -> add(store, 1));
        assertTrue(e.is("FENCED"));
        assertFalse(e.isAmbiguous());
        assertEquals(List.of(), daemon.checkpoints(JOB.toHexString()));
        Await.until("revoked", () -> events.told.contains("revoke"));
    }

    @Test
    void refusal_after_a_lost_answer_is_not_a_definite_no() throws Exception {
        CompletedCheckpointStore store = store();
        int[] seen = {0};
        daemon.faults(request -> !request.endsWith("/checkpoints") ? Fault.NONE
                : seen[0]++ == 0 ? Fault.LOSE_ANSWER : Fault.FENCED);
        /* It was written, and the next leader may have recovered it: Flink must not delete its files. */
        assertThrows(PossibleInconsistentStateException.class, () -> add(store, 1));
        assertEquals(List.of(1L), daemon.checkpoints(JOB.toHexString()));
    }

    @Test
    void store_of_an_earlier_leadership_is_fenced_after_a_new_grant() throws Exception {
        CompletedCheckpointStore old = store();
        daemon.bounce();
        events.expect("grant", "revoke", "grant");
        assertTrue(assertThrows(HoldfastException.class, () -> add(old, 1)).is("FENCED"));
        assertEquals("grant", events.told.get(events.told.size() - 1), "the new leadership is not touched");
        add(store(), 2);
    }

    @Test
    void checkpoint_in_doubt_that_was_stored_is_deleted_when_it_is_subsumed() throws Exception {
        CompletedCheckpointStore store = store();
        add(store, 1);
        daemon.faults(request -> request.endsWith("/checkpoints") ? Fault.LOSE_ANSWER : Fault.NONE);
        assertThrows(PossibleInconsistentStateException.class, () -> add(store, 2));
        daemon.faults(request -> Fault.NONE);
        add(store, 3);
        add(store, 4);
        Await.until("chk-2 deleted", () -> !Files.exists(folder.resolve("chk-2")));
        assertEquals(List.of(4L), daemon.checkpoints(JOB.toHexString()));
        assertFalse(Files.exists(folder.resolve("chk-3")));
        assertTrue(Files.exists(folder.resolve("chk-4/_metadata")));
    }

    // --------------------------------------------------------------- one RPC

    @Test
    void checkpoint_costs_one_request_in_steady_state() throws Exception {
        CompletedCheckpointStore store = store();
        CheckpointIDCounter counter = cluster.recovery().counter(JOB);
        counter.start();
        Set<Long> ids = new HashSet<>();
        CheckpointsCleaner cleaner = new CheckpointsCleaner();
        for (int i = 0; i < 3; i++) {
            long id = counter.getAndIncrement();
            assertTrue(ids.add(id));
            store.addCheckpointAndSubsumeOldestOne(checkpoint(id), cleaner, () -> {});
        }
        daemon.forgetRequests();
        for (int i = 0; i < 100; i++) {
            long id = counter.getAndIncrement();
            assertTrue(ids.add(id), "id " + id + " is handed out twice");
            store.addCheckpointAndSubsumeOldestOne(checkpoint(id), cleaner, () -> {});
        }
        assertEquals(100, daemon.count("/jobs/"));
        assertEquals(1, daemon.checkpoints(JOB.toHexString()).size());
        assertTrue(daemon.discards(JOB.toHexString()).size() <= 1, "finished discards are struck off by the next commit");
        try (java.util.stream.Stream<Path> left = Files.list(folder)) {
            assertEquals(1, left.count());
        }
    }

    @Test
    void ids_never_repeat_over_leaderships_and_savepoint_restores() throws Exception {
        Set<Long> ids = new HashSet<>();
        long highest = 0;
        for (int round = 0; round < 4; round++) {
            CheckpointIDCounter counter = cluster.recovery().counter(JOB);
            for (int i = 0; i < 40; i++) {
                long id = counter.getAndIncrement();
                assertTrue(id > highest && ids.add(id));
                highest = id;
            }
            counter.setCount(highest + 5);
            assertTrue(counter.get() >= highest + 5);
            counter.setCount(1); /* never goes back */
            String[] told = new String[2 * round + 3];
            for (int i = 0; i < told.length; i++) {
                told[i] = i % 2 == 0 ? "grant" : "revoke";
            }
            daemon.bounce();
            events.expect(told);
        }
    }

    // -------------------------------------------------------------- election

    @Test
    void cut_stream_costs_nothing() throws Exception {
        UUID before = events.granted;
        long attached = daemon.count("/events");
        daemon.cutStreams();
        Await.until("attached again", () -> daemon.count("/events") > attached);
        add(store(), 1);
        assertEquals(before, events.granted);
        events.expect("grant");
    }

    @Test
    void silent_stream_is_replaced() throws Exception {
        long attached = daemon.count("/events");
        daemon.silence(true);
        Await.until("attached again", () -> daemon.count("/events") > attached);
        daemon.silence(false);
        events.expect("grant");
        assertTrue(driver.hasLeadership());
    }

    @Test
    void ended_session_is_revoked_first_and_a_new_one_leads() throws Exception {
        UUID before = events.granted;
        daemon.endSession();
        events.expect("grant", "revoke", "grant");
        assertFalse(before.equals(events.granted));
        assertTrue(driver.hasLeadership());
    }

    @Test
    void leadership_ends_locally_when_no_renewal_gets_through() throws Exception {
        daemon.faults(request -> Fault.UNAVAILABLE);
        daemon.cutStreams();
        Await.until("revoked by its own clock", () -> events.told.contains("revoke"));
        assertFalse(driver.hasLeadership());
        daemon.faults(request -> Fault.NONE);
        daemon.endSession();
        events.expect("grant", "revoke", "grant");
    }

    @Test
    void leadership_outlives_an_outage_shorter_than_the_session() throws Exception {
        daemon.faults(request -> Fault.UNAVAILABLE);
        daemon.cutStreams();
        long tries = daemon.count("/events");
        Await.until("several tries to reattach", () -> daemon.count("/events") > tries + 4);
        assertTrue(driver.hasLeadership());
        daemon.faults(request -> Fault.NONE);
        long renewals = daemon.count("/renew");
        Await.until("renewed", () -> daemon.count("/renew") > renewals + 1);
        events.expect("grant");
    }

    @Test
    void addresses_are_published_under_the_grant_and_again_after_a_lost_answer() throws Exception {
        daemon.fault(Fault.LOSE_ANSWER, "PUT /v1/clusters/default/test/leader/dispatcher", 1);
        driver.publishLeaderInformation("dispatcher", LeaderInformation.known(events.granted, "pekko.tcp://x"));
        Await.until("published", () -> daemon.published("dispatcher"));
        driver.deleteLeaderInformation("dispatcher");
        Await.until("removed", () -> !daemon.published("dispatcher"));
    }

    @Test
    void nobody_is_told_that_there_is_no_leader_in_an_outage() throws Exception {
        driver.publishLeaderInformation("job-1", LeaderInformation.known(events.granted, "first"));
        List<String> told = Collections.synchronizedList(new ArrayList<>());
        Cluster other = new Cluster(configuration());
        try (AutoCloseable retrieval = other.retrieve("job-1", now -> told.add(String.valueOf(now.getLeaderAddress())))) {
            Await.until("the address", () -> told.size() == 1);
            daemon.faults(request -> request.contains("/watch") ? Fault.UNAVAILABLE : Fault.NONE);
            long tries = daemon.count("/watch");
            daemon.cutStreams();
            Await.until("several tries to watch", () -> daemon.count("/watch") > tries + 3);
            assertEquals(List.of("first"), told);
            daemon.faults(request -> Fault.NONE);
            Await.until("watching again", () -> daemon.watching() > 0);
            daemon.bounce();
            events.expect("grant", "revoke", "grant");
            driver.publishLeaderInformation("job-1", LeaderInformation.known(events.granted, "second"));
            Await.until("the next address", () -> told.contains("second"));
            driver.deleteLeaderInformation("job-1");
            Await.until("the end", () -> told.size() == 4);
            assertEquals(List.of("first", "null", "second", "null"), told, "an address of an earlier grant is taken back");
        } finally {
            other.close();
        }
    }

    @Test
    void own_grant_takes_addresses_of_earlier_leaders_back_at_once() throws Exception {
        List<String> told = Collections.synchronizedList(new ArrayList<>());
        driver.publishLeaderInformation("job-1", LeaderInformation.known(events.granted, "first"));
        try (AutoCloseable retrieval = cluster.retrieve("job-1", now -> told.add(String.valueOf(now.getLeaderAddress())))) {
            Await.until("the address", () -> told.equals(List.of("first")));
            daemon.faults(request -> request.contains("/watch") ? Fault.UNAVAILABLE : Fault.NONE);
            daemon.cutWatches();
            daemon.bounce();
            Await.until("taken back without a word of the watch", () -> told.equals(List.of("first", "null")));
        }
    }

    // ------------------------------------------------------------ quarantine

    @Test
    void old_checkpoint_that_is_gone_is_quarantined_alone() throws Exception {
        CompletedCheckpointStore store =
                cluster.recovery().recover(
                        JOB, 2, (deleter, known) -> new SharedStateRegistryImpl(deleter), Executors.directExecutor());
        add(store, 1);
        add(store, 2);
        Files.delete(folder.resolve("chk-1/_metadata"));
        assertEquals(2, store().getLatestCheckpoint().getCheckpointID());
        assertTrue(daemon.quarantinedCheckpoint(JOB.toHexString(), 1));
    }

    @Test
    void newest_checkpoint_that_is_damaged_is_never_passed_over_silently() throws Exception {
        CompletedCheckpointStore store =
                cluster.recovery().recover(
                        JOB, 2, (deleter, known) -> new SharedStateRegistryImpl(deleter), Executors.directExecutor());
        add(store, 1);
        add(store, 2);
        Files.write(folder.resolve("chk-2/_metadata"), new byte[] {1, 2, 3});
        PayloadStore<String> graphs = new PayloadStore<>(cluster, "graphs");
        graphs.addAndLock(JOB.toHexString(), "graph");
        Exception e = assertThrows(java.io.IOException.class, this::store);
        assertTrue(e.getMessage().contains("newest checkpoint 2"), e.getMessage());
        assertTrue(e.getMessage().contains("3 bytes is damaged: java.io.EOFException"), e.getMessage());
        assertEquals(List.of(), List.copyOf(graphs.getAllHandles()), "the job is not offered");
        assertTrue(daemon.quarantined("graphs", JOB.toHexString()).contains("newest checkpoint 2"));
        /* Flink may give the job up after that; its pointers are still there for people. */
        cluster.recovery().cleanUp(JOB);
        assertEquals(List.of(1L, 2L), daemon.checkpoints(JOB.toHexString()));
    }

    @Test
    void older_checkpoint_is_taken_when_the_setting_says_so() throws Exception {
        CompletedCheckpointStore store =
                cluster.recovery().recover(
                        JOB, 2, (deleter, known) -> new SharedStateRegistryImpl(deleter), Executors.directExecutor());
        add(store, 1);
        add(store, 2);
        Files.delete(folder.resolve("chk-2/_metadata"));
        driver.close();
        cluster.close();
        Configuration configuration = configuration();
        configuration.setString(HoldfastOptions.ALLOW_OLDER.key(), "true");
        Cluster next = new Cluster(configuration);
        Events heard = new Events();
        LeaderElectionDriver nextDriver = next.elect(heard);
        heard.expect("grant");
        assertEquals(1, store(next).getLatestCheckpoint().getCheckpointID());
        assertTrue(daemon.quarantinedCheckpoint(JOB.toHexString(), 2));
        nextDriver.close();
        next.close();
    }

    @Test
    void damaged_graph_is_quarantined_and_can_be_submitted_again() throws Exception {
        PayloadStore<String> graphs = new PayloadStore<>(cluster, "graphs");
        String sound = new JobID(3, 4).toHexString();
        graphs.addAndLock(JOB.toHexString(), "broken");
        graphs.addAndLock(sound, "sound");
        daemon.damage("graphs", JOB.toHexString());
        assertEquals(List.of(sound), List.copyOf(graphs.getAllHandles()));
        assertFalse(graphs.exists(JOB.toHexString()).isExisting());
        assertThrows(StateHandleStore.NotExistException.class, () -> graphs.getAndLock(JOB.toHexString()));
        graphs.addAndLock(JOB.toHexString(), "again");
        assertEquals("again", graphs.getAndLock(JOB.toHexString()).retrieveState());
        assertEquals(2, graphs.getAllHandles().size());
    }

    @Test
    void damaged_result_is_quarantined_and_others_are_read() throws Exception {
        ResultStore results = new ResultStore(cluster, Executors.directExecutor());
        daemon.putResult(JOB.toHexString(), "{\"id\":17}");
        assertEquals(Set.of(), results.getDirtyResults());
        assertEquals(1, daemon.count("/results/" + JOB.toHexString() + "/quarantine"));
    }

    // ----------------------------------------------------------------- plans

    @Test
    void graph_write_outlives_a_hiccup_and_identical_content_is_success() throws Exception {
        PayloadStore<String> graphs = new PayloadStore<>(cluster, "graphs");
        daemon.fault(Fault.LOSE_ANSWER, "PUT", 1);
        graphs.addAndLock(JOB.toHexString(), "graph");
        daemon.fault(Fault.UNAVAILABLE, "PUT", 5);
        graphs.replace(JOB.toHexString(), graphs.exists(JOB.toHexString()), "other graph");
        assertEquals("other graph", graphs.getAndLock(JOB.toHexString()).retrieveState());
        assertThrows(
                StateHandleStore.AlreadyExistException.class, () -> graphs.addAndLock(JOB.toHexString(), "third graph"));
    }

    // -------------------------------------------------------------- discards

    @Test
    void what_a_killed_leader_left_half_deleted_is_finished() throws Exception {
        CompletedCheckpointStore store = store();
        add(store, 1);
        /* Subsumed in Holdfast, but the cleaner never ran: the process is gone. */
        byte[] metadata = Files.readAllBytes(folder.resolve("chk-1/_metadata"));
        add(store, 2);
        Files.createDirectories(folder.resolve("chk-1"));
        Files.write(folder.resolve("chk-1/_metadata"), metadata);
        daemon.bounce();
        events.expect("grant", "revoke", "grant");
        CompletedCheckpointStore next = store();
        assertEquals(List.of(1L), daemon.discards(JOB.toHexString()));
        add(next, 3);
        assertFalse(Files.exists(folder.resolve("chk-1")));
        assertFalse(Files.exists(folder.resolve("chk-2")));
        add(next, 4);
        assertEquals(List.of(3L), daemon.discards(JOB.toHexString()), "1 and 2 are struck off");
    }

    @Test
    void retained_checkpoint_of_an_ended_job_never_becomes_a_discard() throws Exception {
        CompletedCheckpointStore store = store();
        CompletedCheckpoint given = checkpoint(1);
        CompletedCheckpoint retained =
                new CompletedCheckpoint(
                        JOB, 1, 1, 2, Collections.emptyMap(), null,
                        CheckpointProperties.forCheckpoint(CheckpointRetentionPolicy.RETAIN_ON_CANCELLATION),
                        AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(given.getExternalPointer()), null);
        store.addCheckpointAndSubsumeOldestOne(retained, new CheckpointsCleaner(), () -> {});
        store.shutdown(org.apache.flink.api.common.JobStatus.CANCELED, new CheckpointsCleaner());
        assertEquals(List.of(), daemon.checkpoints(JOB.toHexString()));
        assertEquals(List.of(), daemon.discards(JOB.toHexString()));
        assertTrue(Files.exists(folder.resolve("chk-1/_metadata")));
    }

    @Test
    void last_step_waits_for_what_was_scheduled_before_it() {
        List<Runnable> queue = new ArrayList<>();
        DeletionTracker tracker = new DeletionTracker(queue::add);
        List<String> done = new ArrayList<>();
        tracker.hold();
        tracker.execute(() -> done.add("own file"));
        tracker.afterPending(() -> done.add("_metadata"));
        queue.remove(0).run();
        assertEquals(List.of("own file"), done, "more may be scheduled while held");
        tracker.execute(() -> done.add("shared file"));
        tracker.release();
        tracker.execute(() -> done.add("of the next checkpoint"));
        queue.remove(0).run();
        queue.remove(1).run(); /* the last step, which became due before the next checkpoint's file was deleted */
        assertEquals(List.of("own file", "shared file", "_metadata"), done);
    }

    // ---------------------------------------------------------------- config

    @Test
    void bad_settings_are_refused_with_a_message_that_names_them() {
        for (String[] bad : new String[][] {
            {HighAvailabilityOptions.HA_CLUSTER_ID.key(), "a/b"},
            {HighAvailabilityOptions.HA_CLUSTER_ID.key(), "/"},
            {HoldfastOptions.ENDPOINTS.key(), "localhost:7070"},
            {HoldfastOptions.ENDPOINTS.key(), ""},
            {HoldfastOptions.COMMIT_TIMEOUT.key(), "21 s"},
        }) {
            Configuration configuration = configuration();
            configuration.setString(bad[0], bad[1]);
            Exception e = assertThrows(IllegalConfigurationException.class, () -> new Cluster(configuration), bad[0]);
            assertTrue(e.getMessage().startsWith(bad[0]), e.getMessage());
        }
    }
}
