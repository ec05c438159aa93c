/* tests/lib/rpc_world.h: everything of the daemon but its start and stop, in one process: the RPC
 * server on a port of loopback, sessions, catalog, journal and replica, over a store in memory.
 *
 * Time, as sessions and requests see it, stands still unless a test moves it, and random bytes are a
 * count, so that two runs of one scenario differ in nothing but the failure between them. Session
 * 00…01 leads cluster default/c with fence WORLD_FENCE.
 */
#ifndef HF_TESTS_LIB_RPC_WORLD_H
#define HF_TESTS_LIB_RPC_WORLD_H

#include "rpc/rpc.h"

#define WORLD_SID "00000000000000000000000000000001"
#define WORLD_FENCE "3"
#define WORLD_CLUSTER "/v1/clusters/default/c"

enum { WORLD_ANSWER_MAX = 3 * 1024 * 1024, WORLD_WAIT_MS = 120000 };

void world_open(void);
/* Asserts that nothing is left over: no connection, stream, call, or payload without owner. */
void world_close(void);
/* One turn of the loop; waits for at most a millisecond when there is nothing to do. */
void world_turn(void);
/* One that does not wait. */
void world_turn_now(void);
/* The store in memory, for hf_blob_memory_fail. */
struct hf_blob *world_blob(void);
/* For sessions and requests; the journal goes by the real clock. */
void world_time_passes(uint64_t ms);
/* Until no request, record or leadership is under way. */
void world_settle(void);
/* Keys and values of the durable state (without the journal's own), as a number. */
uint64_t world_digest(void);
uint64_t world_turns_taken(void);
void world_stats(struct hf_rpc_stats *out_stats);
/* Allocations that libuv has made since the start of the process. */
uint64_t world_libuv_allocations(void);

/* A connection from outside. */
struct world_client {
    int fd;
    uint8_t *in;
    size_t in_size;
    size_t in_max;
    bool closed; /* by the server */
};

void world_client_open(struct world_client *client);
void world_client_close(struct world_client *client);
/* Sends all of it, while the server runs; false: the server has closed the connection. */
bool world_client_send(struct world_client *client, const void *data, size_t size);
/* Reads what is there now. */
void world_client_read(struct world_client *client);

struct world_answer {
    int code;
    const char *head; /* within the client's input, as is the body: with its chunk sizes, if any */
    const char *body;
    size_t body_size;
    bool complete;
};

/* The answers in what was received, up to the first incomplete one (which counts). Asserts that they
 * are well-formed. 100 Continue is no answer. */
size_t world_answers(const struct world_client *client, struct world_answer *out, size_t max);
/* How many answers have arrived completely. */
size_t world_answers_complete(const struct world_client *client);

#endif
