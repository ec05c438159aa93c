/* tests/sim/sim.h: a world from a seed: three replicas, the storage they share,
 * an election, JobManagers, a network, and everything that can go wrong.
 *
 * One thread, one virtual clock, one queue of events. What decides in the
 * replicas is the real code of store/ and election/; the shell around it
 * (replica.c) does what daemon/ and rpc/ do. Memory comes from an arena that is
 * thrown away with the world, so a crash is: forgetting.
 *
 *   world.c     clock, queue, random numbers, faults, trace
 *   base.c      memory and hashes for a world (in place of base/memory.c, hash.c)
 *   storage.c   the blob store
 *   history.c   H, the history: what is true; most oracles
 *   replica.c   one holdfastd
 *   service.c   its answers to clients
 *   election.c  who may lead
 *   client.c    JobManagers
 *   run.c       one seed: profile, life, healing, verdict
 *   mutants.c   the deliberate defects
 *   shrink.c    what of a failing seed is needed to fail
 *   campaign.c  many seeds or all mutants, in several processes
 *   main.c      arguments, reports
 */
#ifndef HF_TESTS_SIM_H
#define HF_TESTS_SIM_H

#include "election/sessions.h"
#include "store/blob.h"
#include "store/catalog.h"
#include "store/journal.h"

#include <setjmp.h>
#include <stdio.h>

enum {
    REPLICAS = 3,
    CLUSTERS = 2,
    CLIENTS_MAX = 6,
    JOBS = 3, /* of a cluster */
    PROCS = REPLICAS + CLIENTS_MAX,
    SERVICE_STORE = PROCS, /* ends of a network link beside the processes */
    SERVICE_ELECTION,
    ENDS,
    WORLD = -1,
};

/* ------------------------------------------------------------------------- faults */

#define FAULT_TABLE(X)                                                                   \
    X(CREATE_LOST, "a create is lost on its way")                                        \
    X(CREATE_LATE, "a create without an answer arrives much later")                      \
    X(CREATE_TWICE, "a create arrives a second time, later")                             \
    X(ANSWER_LOST, "the answer to a create is lost")                                     \
    X(ANSWER_RESENT, "a create is sent again below us and answered EXISTS")              \
    X(ANSWER_500, "a create is carried out and answered 500 or 409")                     \
    X(CALL_FAILED, "a read, list, remove or settle fails")                               \
    X(REMOVE_LATE, "a remove arrives a second time, later")                              \
    X(SLOW, "a storage call takes up to seconds")                                        \
    X(LIST_SLOW, "what a list shows is seconds old when it comes")                       \
    X(STORM, "the storage throttles for a while: 503")                                   \
    X(OUTAGE, "the storage does not answer for a while")                                 \
    X(FULL, "the storage is full for a while")                                           \
    X(DAMAGE_BIT, "a stored object has a bit flipped")                                   \
    X(DAMAGE_CUT, "a stored object is cut")                                              \
    X(DAMAGE_FOREIGN, "an object is replaced by a well-formed one that is not it")       \
    X(DAMAGE_GONE, "an object vanishes from the middle of the log")                      \
    X(POWER, "the machine loses power: what was not flushed is gone")                    \
    X(CRASH, "a replica is killed")                                                      \
    X(CRASH_UNFLUSHED, "a replica is killed when its object is visible and not flushed") \
    X(CRASH_AT_EFFECT, "a replica is killed between two effects of one step")            \
    X(PAUSE, "a replica stands still, then goes on with its calls in flight")            \
    X(PARTITION, "two ends do not reach each other for a while")                         \
    X(CLOCK_JUMP, "a clock jumps forward")                                               \
    X(CLOCK_RATE, "a clock runs at another rate")                                        \
    X(WALL_JUMP, "a wall clock jumps, either way")                                       \
    X(ELECTION_FALSE_GRANT, "a replica is told that it leads and holds no lease")        \
    X(ELECTION_TWO, "the election gives a second lease beside a valid one")              \
    X(ELECTION_NONE, "the election elects nobody for a while")                           \
    X(ELECTION_TAKEN, "a lease is taken from its holder")                                \
    X(NEW_LEADER_DIES, "a replica is killed as soon as it leads")                        \
    X(STEP_DOWN, "the leader is asked to step down")                                     \
    X(ELECTION_SWAP, "a lease goes to another replica for a moment, and back")           \
    X(WRONG_DEPOSE, "a living leader is taken for dead")                                 \
    X(REQUEST_LOST, "a client's request is lost")                                        \
    X(REPLY_LOST, "the answer to a client is lost")                                      \
    X(REQUEST_TWICE, "a client's request arrives a second time, later")                  \
    X(NET_SLOW, "a message takes up to seconds")                                         \
    X(STREAM_CUT, "a stream's connection is cut; the server sees the peer close")        \
    X(CLIENT_DIES, "a JobManager is killed")                                             \
    X(CLIENT_CLOSES, "a JobManager closes its session")                                  \
    X(CLIENT_PAUSE, "a JobManager stands still for a while")                             \
    X(ZOMBIE, "a JobManager goes on writing when its time is over")                      \
    X(FORGED, "a write carries a fence that is not its own")                             \
    X(OUT_OF_MEMORY, "an allocation of the core fails")

enum fault {
#define FAULT_ENUM(name, text) FAULT_##name,
    FAULT_TABLE(FAULT_ENUM) FAULT_COUNT
#undef FAULT_ENUM
};
extern const char *const fault_names[FAULT_COUNT];

/* Should this fault happen here? Counts, traces, and obeys the shrinker. */
bool fault(enum fault kind);
/* Of any kind. */
bool damage_seen(void);

/* -------------------------------------------------------------------------- options */

enum { SUPPRESS_MAX = 4096 };

struct options {
    bool trace;
    bool quiet;
    uint64_t kinds_off; /* bit per fault kind */
    struct {
        uint8_t kind;
        uint32_t instance;
    } suppressed[SUPPRESS_MAX]; /* single ones */
    size_t suppressed_count;
    const char *class;      /* only the seeds of this one; NULL: all */
    uint64_t calm_after_us; /* no faults from this moment on; 0: as the seed says */
};

enum profile_class {
    CLASS_MIXED,
    CLASS_STORAGE,
    CLASS_PROCESSES,
    CLASS_ELECTIONS,
    CLASS_NETWORK,
    CLASS_DAMAGE,
    CLASS_POWER,
    CLASS_CLOCKS,
    CLASS_TAKEOVERS,
    CLASS_COUNT
};
extern const char *const class_names[CLASS_COUNT];

struct profile {
    enum profile_class class;
    uint32_t rate[FAULT_COUNT]; /* of 65536, where the fault can happen */
    bool file_store;            /* visible before durable; no lost answers */
    bool sound_clocks;          /* all rates within 1.5 % */
    unsigned clients;
    unsigned clusters;
    uint64_t ttl_ms;
    uint64_t lease_us;
    uint64_t run_us;
    uint64_t close_grace_ms;
    size_t page;
    uint64_t proof_period_ms;
    unsigned readers; /* percent of a client's turns in which somebody reads */
    bool stale_lists; /* of those without a lease only */
    uint64_t call_us; /* typical storage latency */
    uint64_t net_us;
    uint64_t think_us; /* between two acts of a client */
    struct hf_journal_options journal;
};

enum { CALL_CLASSES = 8 };
struct counters {
    uint64_t seeds;
    uint64_t steps;
    uint64_t faults[FAULT_COUNT];
    uint64_t visits[HF_JOURNAL_HALTED + 1][5 + CALL_CLASSES]; /* state x event */
    uint64_t acked;
    uint64_t refused;
    uint64_t unknown;
    uint64_t reads;
    uint64_t takeovers;
    uint64_t snapshots;
    uint64_t truncated;
    uint64_t grants;
    uint64_t halts;
    uint64_t checks;
    uint64_t repeated; /* seeds that were run a second time, with the same outcome */
    uint64_t failed;
};

/* ---------------------------------------------------------------------------- world */

enum event_kind {
    EV_CALL_ARRIVES,  /* at the storage */
    EV_CALL_ANSWERED, /* at the replica */
    EV_JOURNAL_TIMER,
    EV_SESSIONS_TIMER,
    EV_HOUSEKEEPING,
    EV_PROOF_TIMER,
    EV_HEARTBEAT,
    EV_RECONCILE,
    EV_CAMPAIGN,         /* a replica asks the election */
    EV_CAMPAIGN_ARRIVES, /* at the election */
    EV_CAMPAIGN_ANSWERED,
    EV_POWER,
    EV_STEP_DOWN,
    EV_PAUSE_OVER,
    EV_DIE,
    EV_RESTART,
    EV_REQUEST,     /* arrives at a replica */
    EV_REPLY,       /* arrives at a client */
    EV_LINE,        /* of a stream, at a client */
    EV_PEER_CLOSED, /* a stream's peer went, at a replica */
    EV_SERVER_CLOSED,
    EV_CLIENT_TIMER,
    EV_CLIENT_BORN,
    EV_MISCHIEF, /* the world's own: what goes wrong by itself */
    EV_HEAL,
    EV_VERDICT,
    EV_COUNT
};

struct event {
    uint64_t at_us;
    uint64_t seq;
    int16_t kind;
    int16_t proc; /* whose event it is, or WORLD; dropped when that life is over */
    uint32_t life;
    void *data;
    uint64_t number;
};

struct proc {
    uint32_t life;
    bool alive;
    uint64_t paused_until_us;
    /* its clock */
    uint64_t rate_ppm;
    uint64_t anchor_us;
    uint64_t local_at_anchor_us;
    int64_t wall_offset_ms;
};

struct storage;
struct history;
struct election;
struct replica;
struct client;

struct world {
    uint64_t seed;
    const struct options *options;
    struct counters *counters;
    struct profile profile;
    uint64_t rng_fault;
    uint64_t rng_world;
    uint64_t rng_core;
    uint64_t now_us;
    uint64_t step;
    uint64_t event_seq;
    struct event *heap;
    size_t heap_size;
    size_t heap_capacity;
    struct proc procs[PROCS];
    uint64_t cut_until_us[ENDS][ENDS];
    bool faults_on;
    bool healed;
    uint32_t fault_seen[FAULT_COUNT];
    uint64_t trace_hash;
    struct storage *storage;
    struct history *history;
    struct election *election;
    struct replica *replicas[REPLICAS];
    struct client *clients[CLIENTS_MAX];
    struct hf_id store_id;
    bool failed;
    bool done;
    bool halted; /* a replica stopped at damage */
    char invariant[48];
    char message[600];
    jmp_buf out;       /* a failed assertion leaves by here */
    uint64_t deafness; /* countdown of allocations until one fails; 0: off */
};
extern struct world *sim;

uint64_t rng_next(uint64_t *state);
uint64_t rng_below(uint64_t *state, uint64_t n);
/* Of the world: latencies, choices of clients. */
uint64_t roll(uint64_t n);
bool chance(unsigned percent);
/* A latency around `typical`. */
uint64_t latency(uint64_t typical);

struct event *event_at(uint64_t at_us, enum event_kind kind, int proc, void *data, uint64_t number);
struct event *event_in(uint64_t in_us, enum event_kind kind, int proc, void *data, uint64_t number);
bool event_next(struct event *out);

uint64_t local_us(int proc);
uint64_t local_ms(int proc);
uint64_t local_to_world_us(int proc, uint64_t local);
uint64_t wall_ms(int proc);
void clock_set(int proc, uint64_t rate_ppm, uint64_t jump_us);
bool reaches(int from, int to);

void trace(const char *format, ...) HF_PRINTF(1, 2);
void trace_dump(FILE *out);
void trace_mix(const struct event *ev);
void fail(const char *invariant, const char *format, ...) HF_PRINTF(2, 3);

/* ----------------------------------------------------------------------------- base */

void arena_reset(void);
void *sim_alloc(size_t size); /* zeroed, never fails */

/* -------------------------------------------------------------------------- storage */

struct object {
    char name[HF_BLOB_REF_MAX];
    uint8_t *data;
    size_t size;
    bool durable;
    bool lost; /* by the power cut that is happening */
    bool damaged;
    bool gone; /* and so damaged: only the oracles see what is left of it */
    struct object *next;
};

struct storage {
    struct object *buckets[256];
    size_t count;
    uint64_t storm_until_us;
    uint64_t full_until_us;
    uint64_t outage_until_us;
};

/* One call of a replica on its way. */
struct call {
    int replica;
    uint32_t life;
    enum hf_journal_call_kind kind;
    uint64_t id; /* of the journal; 0: of the shell */
    char name[HF_BLOB_REF_MAX];
    char after[HF_LOG_NAME_SIZE];
    uint8_t *body;
    size_t body_size;
    struct hf_snapshot_encoder snapshot;
    bool vital;
    bool reading_back;               /* SNAPSHOT: its second half */
    bool ghost;                      /* a late copy: nobody waits for the answer */
    bool certain;                    /* the storage refuses for sure or does it: no late arrival */
    void (*done)(struct call *call); /* of the shell's own */
    void *arg;
    /* the answer */
    enum hf_status status;
    uint8_t *data;
    size_t data_size;
    struct hf_blob_entry *entries;
    size_t entry_count;
    bool more;
};

void storage_start(void);
void storage_call(struct call *call); /* from the replica: sends it */
void storage_arrives(struct call *call);
struct object *storage_find(const char *name);
void storage_power_cut(void);
/* ends: nobody goes on after it, so that even the last record may be hit. */
void storage_damage(enum fault kind, bool ends);
/* Must somebody who starts from nothing now stop at damaged data? */
bool storage_path_is_damaged(void);
void storage_flushed(const char *name);

/* -------------------------------------------------------------------------- history */

enum op_kind {
    OP_NONE,
    OP_OPEN,
    OP_RENEW,
    OP_ATTACH,
    OP_CLOSE,
    OP_PUBLISH,
    OP_GRAPH_PUT,
    OP_GRAPH_DELETE,
    OP_COMMIT,
    OP_CHECKPOINT_DELETE,
    OP_DISCARDS,
    OP_RESERVE,
    OP_RAISE,
    OP_RESULT_PUT,
    OP_RESULT_CLEAN,
    OP_JOB_CLEAN,
    OP_READ,
    OP_RESTORE,
    OP_EFFECT, /* the daemon's own: an end, a grant */
    OP_STRIKE, /* the daemon's own: a tombstone is done with */
    OP_PURGE,
    OP_KINDS
};
extern const char *const op_names[OP_KINDS];

/* What a client asks for. */
struct request {
    enum op_kind kind;
    int client;
    uint32_t client_life;
    uint64_t number; /* of the attempt */
    int cluster;
    struct hf_owner session;
    uint64_t fence;
    char leader_session[37];
    int job;
    uint64_t id;           /* checkpoint; raise to */
    uint64_t num_retained; /* commit */
    uint64_t discarded[4];
    size_t discarded_count;
    uint64_t reserve;
    uint64_t content;
    bool is_savepoint;
    bool keep;
    bool contend;
    bool forged;
    uint64_t stream; /* attach: id of the connection */
};

/* Everything a transaction of a client or the shell is known by. */
struct op {
    struct request request;
    int replica;
    struct hf_sessions_effect effect;
    bool is_txn;
    bool answered;
    enum hf_status status;
    uint64_t revision;  /* on H; 0: not there */
    uint64_t rev_floor; /* of a barrier: what had been seen when it was asked */
    uint64_t rev_pending;
    uint64_t from, to;
    char blob[HF_BLOB_REF_MAX];
};

struct job_view {
    bool offered; /* its graph, for recovery */
    uint64_t next_id;
    uint64_t checkpoints[8];
    size_t checkpoint_count;
    uint64_t discards[4];
    size_t discard_count;
    int result;
};

struct reply {
    struct request request;
    enum hf_status status;
    uint64_t remaining_ms;
    uint64_t from, to;
    uint64_t revision;
    int replica;
    int leader; /* as the election shows; -1: nobody */
    struct job_view jobs[JOBS];
};

enum line_kind { LINE_ATTACHED, LINE_GRANTED, LINE_ENDED, LINE_HEARTBEAT, LINE_REPLACED };
struct line {
    enum line_kind kind;
    uint64_t stream;
    uint64_t fence;
    uint64_t remaining_ms;
    struct hf_owner session;
    char leader_session[37];
    int replica;
};

void history_start(void);
uint64_t history_op_new(const struct request *request, int replica); /* its number */
struct op *history_op(uint64_t number);
/* An object was stored where there had never been one, or had been no longer. */
void history_stored(const char *name, const uint8_t *data, size_t size);
void history_removing(const char *name);
void history_sent(const char *name, const uint8_t *data, size_t size);
void history_power_cut(void);
void history_answered(uint64_t number, enum hf_status status, uint64_t revision);
uint64_t history_seen(void);
void history_read_done(uint64_t number, uint64_t revision, struct hf_keyspace ks);
void history_confirmed(const struct hf_journal *journal, int replica, bool thorough);
void history_snapshot(const char *name, const uint8_t *data, size_t size);
uint64_t history_revision(void);
struct hf_keyspace history_state(uint64_t revision);
struct hf_position history_next(void);
const uint8_t *history_first(struct hf_position at, size_t *out_size);

/* ------------------------------------------------------------------ replica, service */

struct stream {
    uint64_t id;
    int client;
    uint32_t client_life;
    struct hf_owner session;
    uint64_t last_at_us; /* lines of one connection keep their order */
    bool broken;         /* nothing gets through any more, and nobody knows */
    struct stream *next;
};

struct replica {
    int index;
    char address[32];
    struct hf_journal *journal;
    struct hf_sessions *sessions;
    struct hf_journal_effects effects;
    bool leads;
    bool stepping;
    bool crash;
    bool halted;
    struct hf_submission_list arrived;
    uint64_t timer_at_us; /* journal; what is scheduled */
    uint64_t sessions_at_us;
    struct stream *streams;
    struct hf_session_id phantom;
    unsigned phantoms;
    bool deleting;
    char deleting_blob[HF_BLOB_REF_MAX];
    uint64_t purge_at_ms;
    /* candidate */
    bool holds;
    bool elected;
    bool pauses; /* has stepped down on request */
    uint64_t reign;
    uint64_t answered_ms; /* when the last call that was answered was sent */
    bool lease_counts;
    bool proof_is_later;
    bool proving;
    uint64_t valid_until_ms;
    uint64_t proof_started_ms;
    uint64_t proof_ms;
    uint64_t confirms;
};

/* Something of the shell that waits for the journal. */
struct task {
    void (*done)(struct replica *r, struct task *task);
    struct hf_submission submission;
    struct hf_txn txn;
    uint64_t op;
    bool has_op;
    bool undo; /* of an open: the session is in the table for its sake */
    struct request request;
    struct reply reply;
    struct hf_sessions_effect effect;
    struct hf_commit_result *commit;
    struct hf_payload_info payload;
    enum hf_status refusal;
};

void replica_start(int index);
void replica_kill(int index);
void replica_event(int index, const struct event *ev);
void replica_step(struct replica *r, struct hf_journal_event *ev);
void replica_submit(struct replica *r, struct task *task, bool write, enum hf_status answer);
void replica_sessions_kick(struct replica *r);
void replica_deletions_kick(struct replica *r);
uint64_t replica_proof_ms(struct replica *r);
struct task *task_new(void (*done)(struct replica *r, struct task *task));
/* Marks a transaction with the number of its op. */
void task_mark(struct task *task, int replica);

void service_request(struct replica *r, const struct request *request);
void service_peer_closed(struct replica *r, uint64_t id);
void service_lost_lead(struct replica *r);
/* Is there a stream of this session? */
bool service_streams(struct replica *r, struct hf_owner session);
void service_heartbeat(struct replica *r);
void service_line(struct replica *r, struct stream *stream, const struct line *line);
void service_stream_end(struct replica *r, struct stream *stream);
void cluster_ref(int cluster, struct hf_cluster_ref *out);
void job_id(int cluster, int job, char out[HF_JOB_ID_SIZE]);

/* ------------------------------------------------------------------------- election */

struct election {
    int holder; /* -1: none */
    uint64_t expires_us;
    uint64_t none_until_us;
    uint64_t reigns; /* how often it was given to one who did not have it */
    uint64_t reign_of[REPLICAS];
    uint64_t lied_until_us[REPLICAS]; /* told that it leads, with no lease */
    int favourite;                    /* the only one who can get it now; -1: anybody */
    int next_favourite;
    uint64_t favoured_until_us;
    uint64_t ends_us[REPLICAS]; /* of the leases that were given; 0 when the process is gone */
    /* Somebody took over within the lease of another: promises of time cannot hold. */
    bool unsound;
};
void election_start(void);
void election_arrives(const struct event *ev);
void election_died(int replica);
/* It has been told that it lost its lease. */
void election_returned(int replica);

/* The answer to a campaign. */
struct campaign {
    uint64_t sent_ms;
    uint64_t valid_until_ms;
    uint64_t reign; /* the same as before: renewed */
    bool granted;
};
void election_took_over(int replica);

/* -------------------------------------------------------------------------- clients */

struct client {
    int index;
    int cluster;
    struct hf_owner session;
    bool has_session;
    uint64_t end_local_us; /* of its life, on its own clock */
    bool held;
    uint64_t fence;
    char leader_session[37];
    int endpoint;
    uint64_t stream; /* 0: none */
    int stream_replica;
    bool attached;
    uint64_t attach_sent_us;
    uint64_t last_line_us;
    bool closing;
    bool zombie;
    struct { /* requests under way: one for the session, one for work */
        bool busy;
        struct request request;
        uint64_t sent_us;
        uint64_t deadline_us;
    } talk[2];
    struct request work; /* what it is trying to get done, again and again */
    bool has_work;
    uint64_t next_act_us;
    uint64_t next_renew_us;
    bool recovered;
    struct job_view jobs[JOBS];
    uint64_t ids[JOBS]; /* next of the reserved, 0: none */
    uint64_t ids_end[JOBS];
    uint64_t acks;
    bool probe; /* of the healed world: only shows that work gets done */
    /* oracle */
    bool session_cut; /* ended by a closed connection: belief is nobody's promise */
};

void client_start(int index, int cluster);
void client_event(int index, const struct event *ev);
/* For the oracles: by true time. */
bool client_believes(const struct client *c);
uint64_t client_life_end_us(const struct client *c);
void belief_check(const struct client *gained);

/* ------------------------------------------------------------------------------ run */

/* True: all held. */
bool run_seed(struct world *world, uint64_t seed, const struct options *options,
              struct counters *counters);
enum profile_class class_of(uint64_t seed);

struct mutant_info {
    const char *name;
    const char *where; /* a file of the cores; or a part of the world, where it stands for one */
    const char *defect;
};
extern const struct mutant_info mutants[];
extern const size_t mutant_count;

/* ------------------------------------------------------------------------- campaign */

enum { JOBS_MAX = 64, MUTANTS_MAX = 128 };

struct mutant_result {
    bool tried;
    uint64_t seed; /* the first that fails; 0: none did */
    uint64_t step;
    double seconds;
    char invariant[48];
};

double seconds_now(void);
/* Every hundredth seed is run twice. *out_failed: the lowest failing seed, or UINT64_MAX. */
bool campaign_seeds(uint64_t from, uint64_t count, int jobs, const struct options *options,
                    struct counters *sum, uint64_t *out_failed);
/* Each mutant against the seeds from 1 to `seeds`, until one fails. False: a process died. */
bool campaign_mutants(const char *only, uint64_t seeds, int jobs, const struct options *options,
                      struct mutant_result *results);

/* --------------------------------------------------------------------------- shrink */

/* Takes away faults as long as the seed fails by the same invariant; leaves in `options` what has
 * to be switched off for the rest. */
void shrink(struct world *world, uint64_t seed, struct options *options, unsigned runs_max);

#endif
