/* Memory, hashes and assertions for a world: in place of base/memory.c, hash.c and assert.c, so
 * that nothing outlives a seed and a hash costs little. What they promise is the same. */
#include "base/memory.h"
#include "base/mutant.h"

#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CLASSES = 40 };
static const size_t arena_size = (size_t)1 << 30; /* of addresses; what is used stays small */
static uint8_t *arena;
static size_t arena_used;

struct block {
    struct block *next_free;
    uint32_t class;
    uint32_t live;
};
static struct block *free_blocks[CLASSES];

const char *hf_mutant; /* declared in base/mutant.h */

bool hf_mutant_is(const char *name)
{
    return strcmp(name, hf_mutant) == 0;
}

void arena_reset(void)
{
    if (arena == NULL) {
        arena = mmap(NULL, arena_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) {
            perror("sim: no address space");
            exit(2);
        }
    }
    arena_used = 0;
    memset(free_blocks, 0, sizeof free_blocks);
}

static unsigned class_for(size_t size)
{
    unsigned class = 5;

    while (((size_t)1 << class) < size)
        class ++;
    return class;
}

static void *block_take(size_t size)
{
    unsigned class = class_for(size + sizeof(struct block));
    struct block *block = free_blocks[class];

    if (block != NULL) {
        free_blocks[class] = block->next_free;
    } else {
        block = (struct block *)(void *)(arena + arena_used);
        arena_used += (size_t)1 << class;
        if (arena_used > arena_size) {
            fprintf(stderr, "sim: the arena is used up\n");
            abort();
        }
        block->class = class;
    }
    block->live = 1;
    return block + 1;
}

/* The countdown is set around steps of the core only. */
static bool allowed(void)
{
    if (sim == NULL || sim->deafness == 0)
        return true;
    return --sim->deafness > 0;
}

void *hf_malloc(size_t size)
{
    return allowed() ? block_take(size) : NULL;
}

void *hf_calloc(size_t count, size_t size)
{
    void *memory = hf_malloc(count * size);

    return memory != NULL ? memset(memory, 0, count * size) : NULL;
}

void hf_free(void *memory)
{
    if (memory == NULL)
        return;
    struct block *block = (struct block *)memory - 1;
    hf_assert(block->live == 1);
    block->live = 0;
    block->next_free = free_blocks[block->class];
    free_blocks[block->class] = block;
}

void *hf_realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return hf_malloc(size);
    struct block *block = (struct block *)memory - 1;
    size_t room = ((size_t)1 << block->class) - sizeof *block;
    if (size <= room)
        return memory;
    void *larger = hf_malloc(size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, memory, room);
    hf_free(memory);
    return larger;
}

void *hf_memdup(const void *data, size_t size)
{
    void *copy = hf_malloc(size);

    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *hf_strdup(const char *text)
{
    return hf_memdup(text, strlen(text) + 1);
}

void *sim_alloc(size_t size)
{
    return memset(block_take(size), 0, size);
}

/* ------------------------------------------------------------------------------ hash */

struct hf_hash_state {
    uint64_t lanes[4];
    uint64_t size;
    uint8_t rest[8];
    unsigned rest_size;
};

static const uint64_t odd[4] = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu, 0xd6e8feb86659fd93u,
                                0xa0761d6478bd642fu};

static void hash_init(struct hf_hash_state *state)
{
    memset(state, 0, sizeof *state);
    memcpy(state->lanes, odd, sizeof odd);
}

static void hash_word(struct hf_hash_state *state, uint64_t word)
{
    for (int i = 0; i < 4; i++) {
        uint64_t x = (state->lanes[i] ^ word) * odd[i];
        state->lanes[i] = x ^ (x >> 29) ^ (x << 17);
    }
}

static void hash_bytes(struct hf_hash_state *state, struct hf_bytes bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.size;
    uint64_t word;

    state->size += left;
    while (left > 0 && state->rest_size > 0) {
        state->rest[state->rest_size++] = *at++;
        left--;
        if (state->rest_size == 8) {
            memcpy(&word, state->rest, 8);
            hash_word(state, word);
            state->rest_size = 0;
        }
    }
    for (; left >= 8; at += 8, left -= 8) {
        memcpy(&word, at, 8);
        hash_word(state, word);
    }
    for (; left > 0; left--)
        state->rest[state->rest_size++] = *at++;
}

static struct hf_hash hash_end(struct hf_hash_state *state)
{
    struct hf_hash hash;
    uint64_t word = 0;

    memcpy(&word, state->rest, state->rest_size);
    hash_word(state, word);
    hash_word(state, state->size);
    for (int i = 0; i < 4; i++) {
        uint64_t x = state->lanes[i];
        x = (x ^ (x >> 32)) * 0xbf58476d1ce4e5b9u;
        x ^= x >> 29;
        memcpy(hash.bytes + 8 * i, &x, 8);
    }
    return hash;
}

struct hf_hash_state *hf_hash_new(void)
{
    struct hf_hash_state *state = hf_malloc(sizeof *state);

    if (state != NULL)
        hash_init(state);
    return state;
}

void hf_hash_update(struct hf_hash_state *state, struct hf_bytes bytes)
{
    hash_bytes(state, bytes);
}

struct hf_hash hf_hash_finish(struct hf_hash_state *state)
{
    return hash_end(state);
}

void hf_hash_free(struct hf_hash_state *state)
{
    hf_free(state);
}

struct hf_hash hf_hash_of(struct hf_bytes bytes)
{
    struct hf_hash_state state;

    hash_init(&state);
    hash_bytes(&state, bytes);
    return hash_end(&state);
}

bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b)
{
    return memcmp(a->bytes, b->bytes, HF_HASH_SIZE) == 0;
}

/* ------------------------------------------------------------------------ assertions */

/* A failed assertion stops a daemon; here it ends the seed as a failure. */
_Noreturn void hf_assert_failed(const char *expr, const char *file, int line)
{
    if (sim == NULL) {
        fprintf(stderr, "%s:%d: %s\n", file, line, expr);
        abort();
    }
    fail("assertion", "%s:%d: %s", file, line, expr);
    longjmp(sim->out, 1);
}
