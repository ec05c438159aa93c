/* tests/lib/evidence_words.h: evidence from a line of words, of the shapes that real clusters show.
 *
 *   k8s1.14 k8s1.20 k8s2.0 k8s2.3 zk1.14 zk1.20 zk2.0 zk2.3 files holdfast      first: backend and layout; all is looked at
 *   standalone anyplace session anymode                                        else on Kubernetes, an application
 *   lock=fresh|late|ahead|stale|empty|timeless|none latch entry-lock address
 *   plan[=B][:missing|:marked] app chk=[A:|B:]N[:missing|:missing-now|:nometa|:marked|:damaged|:inline|:unlooked]
 *   savepoint=N counter[=B] registry=[B:]STATE result=A|B:clean|dirty|dirty-damaged|folder
 *   deploy=WANTED/READY deploy2=… deploy2-young=… deploy-deleting[=…] stateful=… tm=… batch-ended
 *   pod=started|pending|terminating|unknown|failed|tm
 *   fd=stable|missing|suspended|suspending|upgrading|rollback|deleting sj=running
 *   rest=answered|refused|silent job=A|B[:STATE]
 *   keep foreign owner deleting toomuch fail=DOMAIN unlooked=DOMAIN empty
 *   once changed visited soon young back                                       how the two observations differ
 *
 * Jobs: A has the id that Flink makes from the cluster-id, which is the default; B another.
 */
#ifndef HF_TESTS_LIB_EVIDENCE_WORDS_H
#define HF_TESTS_LIB_EVIDENCE_WORDS_H

#include "gc/verdict.h"

#define WORDS_CLUSTER "my-app"
#define WORDS_JOB_A "ffffffffc0bf46800000000000000000"
#define WORDS_JOB_B "4f1c08a2d35b49e7b1f06a2c9d8e7f60"

enum { WORDS_HOUR_MS = 60 * 60 * 1000 };
#define WORDS_NOW_MS \
    (UINT64_C(1793707200000) + 72 * (uint64_t)WORDS_HOUR_MS) /* three days after the checkpoints */

enum words_pass { WORDS_BEFORE, WORDS_NOW };

/* Into an evidence that is initialized. False: a word that is none, or no memory (then it is incomplete). */
bool words_evidence(struct hf_evidence *evidence, const char *words, enum words_pass pass);
bool words_have(const char *words, const char *word);

/* Both passes, and the verdict on the second. HF_INVALID: a word that is none. */
HF_MUST_USE enum hf_status words_judge(const char *words,
                                       const struct hf_verdict_settings *settings,
                                       struct hf_verdict *out_verdict);

#endif
