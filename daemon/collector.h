/* daemon/collector.h: garbage collection by the leading replica: it looks after the discards and the checkpoint folders of all
 * jobs, a few hundred jobs a second, and has one worker carry out what is due, one job at a time.
 *
 *   discard    a checkpoint's recorded deletion. Its JobManager finishes it; when it has not after gc.discard-grace, the
 *              daemon does, and strikes it off. Also under gc.policy report, since it was ordered.
 *   sweep      of a job's folder: every gc.interval, and gc.min-age after a failover and after the job's end, since what
 *              those leave is not old enough before. report: it is counted. clean: it goes.
 *
 * What fails is tried again with growing pauses, for ever. A lost lead stops the worker between two files.
 */
#ifndef HF_DAEMON_COLLECTOR_H
#define HF_DAEMON_COLLECTOR_H

#include "base/config.h"
#include "rpc/service.h"

#include <uv.h>

/* Jobs that are looked after at a time; more wait until some are done with. */
enum { HF_COLLECTOR_JOBS_MAX = 50 * 1000 };

struct hf_collector;

/* NULL: no memory. All must outlive it. */
struct hf_collector *hf_collector_new(uv_loop_t *loop, const struct hf_config *config,
                                      struct hf_service *service);
void hf_collector_lead(struct hf_collector *collector);
void hf_collector_lost_lead(struct hf_collector *collector);
/* Stops the worker, then calls closed and is freed. */
void hf_collector_close(struct hf_collector *collector, void (*closed)(void *arg), void *arg);

/* For the routes; see struct hf_service_ops. */
json_t *hf_collector_status(const struct hf_collector *collector);
json_t *hf_collector_jobs(const struct hf_collector *collector, const char *after, size_t limit);
bool hf_collector_job(const struct hf_collector *collector, const char *cluster_path,
                      const char *job, json_t **out_job);
enum hf_status hf_collector_ask(struct hf_collector *collector, const char *cluster_path,
                                const char *job, bool run, struct hf_error *err);

/* How it is with a job's collection; borrowed within the call. */
struct hf_collector_trouble {
    const char *cluster; /* path */
    const char *job;
    unsigned failures; /* in a row, of discards or of sweeps */
    const char *error; /* of the last; "" */
    uint64_t discards; /* recorded and not finished */
    uint64_t
        discards_from_ms; /* when the checkpoint of the oldest was completed; 0: there is none */
};
/* False, and nothing is told: not all jobs have been looked at since the lead began. */
bool hf_collector_each(const struct hf_collector *collector,
                       void (*each)(void *arg, const struct hf_collector_trouble *trouble),
                       void *arg);
void hf_collector_metrics(const struct hf_collector *collector, struct hf_buf *out);

#endif
