#include "store/snapshot.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <string.h>

/* Head: magic 8, version 4, store id 16, epoch 8, index 8, record hash 32,
 * nonce 16, revision 8, entries 8. Then each entry: sized key, sized value,
 * create, mod, version (8 each), owner 16. Then the hash of all before it. */
static const char snapshot_magic[8] = {'H', 'F', 'S', 'N', 'A', 'P', 'S', 'H'};
enum { SNAPSHOT_HEAD_SIZE = 8 + 4 + 16 + 8 + 8 + 32 + 16 + 8 + 8 };
enum { ENTRY_SIZE_MAX = 4 + HF_KEY_SIZE_MAX + 4 + HF_VALUE_SIZE_MAX + 24 + HF_OWNER_SIZE };
enum { STAGE_HEAD, STAGE_ENTRIES, STAGE_HASH, STAGE_DONE };

bool hf_snapshot_encoder_init(struct hf_snapshot_encoder *encoder,
                              const struct hf_snapshot_head *head, struct hf_keyspace ks)
{
    *encoder = (struct hf_snapshot_encoder){.head = *head, .stage = STAGE_HEAD};
    encoder->hash = hf_hash_new();
    if (encoder->hash == NULL)
        return false;
    encoder->ks = hf_keyspace_ref(ks);
    hf_keyspace_seek(&encoder->iter, encoder->ks, (struct hf_bytes){NULL, 0});
    return true;
}

void hf_snapshot_encoder_release(struct hf_snapshot_encoder *encoder)
{
    hf_keyspace_unref(encoder->ks);
    hf_hash_free(encoder->hash);
    *encoder = (struct hf_snapshot_encoder){0};
}

static void encode_head(const struct hf_snapshot_encoder *encoder, struct hf_buf *out)
{
    const struct hf_snapshot_head *head = &encoder->head;

    hf_buf_append(out, snapshot_magic, sizeof snapshot_magic);
    hf_buf_append_u32(out, HF_SNAPSHOT_VERSION);
    hf_buf_append(out, head->store_id.bytes, HF_ID_SIZE);
    hf_buf_append_u64(out, head->at.epoch);
    hf_buf_append_u64(out, head->at.index);
    hf_buf_append(out, head->hash.bytes, HF_HASH_SIZE);
    hf_buf_append(out, head->nonce.bytes, HF_ID_SIZE);
    hf_buf_append_u64(out, head->revision);
    hf_buf_append_u64(out, encoder->ks.count);
}

static void encode_entry(const struct hf_entry *entry, struct hf_buf *out)
{
    hf_buf_append_sized(out, entry->key);
    hf_buf_append_sized(out, entry->value);
    hf_buf_append_u64(out, entry->create_revision);
    hf_buf_append_u64(out, entry->mod_revision);
    hf_buf_append_u64(out, entry->version);
    hf_buf_append(out, entry->owner.id, HF_OWNER_SIZE);
}

enum hf_status hf_snapshot_encode(struct hf_snapshot_encoder *encoder, size_t about,
                                  struct hf_buf *out, bool *out_done)
{
    size_t start = out->size;
    struct hf_entry entry;

    *out_done = false;
    hf_assert(encoder->stage != STAGE_DONE);
    if (encoder->stage == STAGE_HEAD) {
        encode_head(encoder, out);
        encoder->stage = STAGE_ENTRIES;
    }
    while (encoder->stage == STAGE_ENTRIES && out->size - start < about && out->failed == HF_OK) {
        if (hf_keyspace_next(&encoder->iter, &entry))
            encode_entry(&entry, out);
        else
            encoder->stage = STAGE_HASH;
    }
    if (out->failed != HF_OK)
        return out->failed;
    hf_hash_update(encoder->hash, (struct hf_bytes){out->data + start, out->size - start});
    if (encoder->stage == STAGE_HASH) {
        struct hf_hash hash = hf_hash_finish(encoder->hash);
        hf_buf_append(out, hash.bytes, HF_HASH_SIZE);
        encoder->stage = STAGE_DONE;
        *out_done = true;
    }
    return out->failed;
}

bool hf_snapshot_decoder_init(struct hf_snapshot_decoder *decoder)
{
    *decoder = (struct hf_snapshot_decoder){.stage = STAGE_HEAD};
    hf_buf_init(&decoder->rest, 2 * (size_t)ENTRY_SIZE_MAX);
    hf_buf_init(&decoder->last_key, HF_KEY_SIZE_MAX);
    decoder->hash = hf_hash_new();
    return decoder->hash != NULL;
}

void hf_snapshot_decoder_release(struct hf_snapshot_decoder *decoder)
{
    hf_keyspace_unref(decoder->ks);
    hf_buf_release(&decoder->rest);
    hf_buf_release(&decoder->last_key);
    hf_hash_free(decoder->hash);
    *decoder = (struct hf_snapshot_decoder){0};
}

static enum hf_status decode_head(struct hf_snapshot_decoder *decoder, struct hf_reader *reader,
                                  struct hf_error *err)
{
    struct hf_snapshot_head *head = &decoder->head;

    struct hf_bytes magic = hf_reader_take(reader, sizeof snapshot_magic);
    if (memcmp(magic.data, snapshot_magic, sizeof snapshot_magic) != 0)
        return hf_error_set(err, HF_FOREIGN, "byte 0: this is no Holdfast snapshot");
    uint32_t version = hf_reader_u32(reader);
    if (version != HF_SNAPSHOT_VERSION)
        return hf_error_set(err, HF_FOREIGN,
                            "byte 8: snapshot format %" PRIu32 ", this program reads format %d",
                            version, HF_SNAPSHOT_VERSION);
    memcpy(head->store_id.bytes, hf_reader_take(reader, HF_ID_SIZE).data, HF_ID_SIZE);
    head->at.epoch = hf_reader_u64(reader);
    head->at.index = hf_reader_u64(reader);
    memcpy(head->hash.bytes, hf_reader_take(reader, HF_HASH_SIZE).data, HF_HASH_SIZE);
    memcpy(head->nonce.bytes, hf_reader_take(reader, HF_ID_SIZE).data, HF_ID_SIZE);
    head->revision = hf_reader_u64(reader);
    decoder->entries_left = hf_reader_u64(reader);
    decoder->stage = decoder->entries_left > 0 ? STAGE_ENTRIES : STAGE_HASH;
    return HF_OK;
}

/* HF_OK; HF_NOT_FOUND when the entry is not complete yet; HF_CORRUPT; HF_NO_MEMORY. */
static enum hf_status decode_entry(struct hf_snapshot_decoder *decoder, struct hf_reader *reader,
                                   struct hf_error *err)
{
    struct hf_reader ahead = *reader;
    struct hf_entry entry = {0};
    uint64_t at = decoder->offset + reader->at;

    uint32_t key_size = hf_reader_u32(&ahead);
    if (!ahead.failed && (key_size == 0 || key_size > HF_KEY_SIZE_MAX))
        return hf_error_set(err, HF_CORRUPT, "byte %" PRIu64 ": a key of %" PRIu32 " bytes", at,
                            key_size);
    entry.key = hf_reader_take(&ahead, key_size);
    uint32_t value_size = hf_reader_u32(&ahead);
    if (!ahead.failed && value_size > HF_VALUE_SIZE_MAX)
        return hf_error_set(err, HF_CORRUPT, "byte %" PRIu64 ": a value of %" PRIu32 " bytes", at,
                            value_size);
    entry.value = hf_reader_take(&ahead, value_size);
    entry.create_revision = hf_reader_u64(&ahead);
    entry.mod_revision = hf_reader_u64(&ahead);
    entry.version = hf_reader_u64(&ahead);
    struct hf_bytes owner = hf_reader_take(&ahead, HF_OWNER_SIZE);
    if (ahead.failed)
        return HF_NOT_FOUND;
    memcpy(entry.owner.id, owner.data, HF_OWNER_SIZE);
    if (hf_bytes_compare(hf_buf_bytes(&decoder->last_key), entry.key) >= 0)
        return hf_error_set(err, HF_CORRUPT, "byte %" PRIu64 ": a key out of order", at);
    hf_buf_clear(&decoder->last_key);
    if (!hf_buf_append(&decoder->last_key, entry.key.data, entry.key.size) ||
        !hf_keyspace_restore(&decoder->ks, &entry))
        return hf_error_set(err, HF_NO_MEMORY, "no memory to load the snapshot");
    *reader = ahead;
    return HF_OK;
}

static enum hf_status decode_hash(struct hf_snapshot_decoder *decoder, struct hf_reader *reader,
                                  struct hf_error *err)
{
    uint64_t at = decoder->offset + reader->at;

    /* Everything before this point has been hashed by the caller. */
    struct hf_hash hash = hf_hash_finish(decoder->hash);
    struct hf_bytes stored = hf_reader_take(reader, HF_HASH_SIZE);
    if (memcmp(hash.bytes, stored.data, HF_HASH_SIZE) != 0 && !HF_MUTANT(snapshot_sum_not_checked))
        return hf_error_set(err, HF_CORRUPT,
                            "byte %" PRIu64 ": the checksum does not match the content", at);
    decoder->stage = STAGE_DONE;
    return HF_OK;
}

/* Decodes as much as is complete; returns through *reader how far it came. */
static enum hf_status decode_some(struct hf_snapshot_decoder *decoder, struct hf_reader *reader,
                                  struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (;;) {
        size_t from = reader->at;
        switch (decoder->stage) {
        case STAGE_HEAD:
            if (hf_reader_left(reader) < SNAPSHOT_HEAD_SIZE)
                return HF_OK;
            status = decode_head(decoder, reader, err);
            break;
        case STAGE_ENTRIES:
            status = decode_entry(decoder, reader, err);
            if (status == HF_NOT_FOUND)
                return HF_OK;
            if (status == HF_OK && --decoder->entries_left == 0)
                decoder->stage = STAGE_HASH;
            break;
        case STAGE_HASH:
            if (hf_reader_left(reader) < HF_HASH_SIZE)
                return HF_OK;
            status = decode_hash(decoder, reader, err);
            from = reader->at; /* the hash is not part of what it covers */
            break;
        default:
            if (hf_reader_left(reader) == 0)
                return HF_OK;
            return hf_error_set(err, HF_CORRUPT, "byte %" PRIu64 ": bytes after the end",
                                decoder->offset + reader->at);
        }
        if (status != HF_OK)
            return status;
        if (reader->at > from)
            hf_hash_update(decoder->hash,
                           (struct hf_bytes){reader->bytes.data + from, reader->at - from});
    }
}

enum hf_status hf_snapshot_decode(struct hf_snapshot_decoder *decoder, struct hf_bytes piece,
                                  struct hf_error *err)
{
    /* Pieces are taken in bites, so that `rest` keeps its small limit however
     * large the piece is. */
    while (piece.size > 0) {
        struct hf_reader reader;
        size_t bite = piece.size < ENTRY_SIZE_MAX ? piece.size : (size_t)ENTRY_SIZE_MAX;
        if (!hf_buf_append(&decoder->rest, piece.data, bite))
            return hf_error_set(err, decoder->rest.failed, "no memory to load the snapshot");
        piece = (struct hf_bytes){piece.data + bite, piece.size - bite};
        hf_reader_init(&reader, hf_buf_bytes(&decoder->rest));
        enum hf_status status = decode_some(decoder, &reader, err);
        if (status != HF_OK)
            return status;
        decoder->offset += reader.at;
        hf_buf_consume(&decoder->rest, reader.at);
    }
    return HF_OK;
}

enum hf_status hf_snapshot_decode_end(struct hf_snapshot_decoder *decoder, struct hf_error *err)
{
    if (decoder->stage != STAGE_DONE)
        return hf_error_set(err, HF_CORRUPT, "byte %" PRIu64 ": the snapshot is cut off here",
                            decoder->offset + decoder->rest.size);
    return HF_OK;
}
