/* daemon/observer_clusters.h: which clusters there are to look at: those of the settings, and, with observe.known, those on Holdfast
 * and those that the scanner has found.
 */
#ifndef HF_DAEMON_OBSERVER_CLUSTERS_H
#define HF_DAEMON_OBSERVER_CLUSTERS_H

#include "base/config.h"
#include "daemon/scanner.h"
#include "store/catalog.h"

/* Called once for each; the first that names a cluster counts. All texts are borrowed until it returns. */
typedef void (*hf_observer_found_cb)(void *arg, const char *ns, const char *name, const char *url,
                                     const char *source);

/* What observe.clusters says. HF_INVALID: it says it wrongly; found may be NULL to find out. */
HF_MUST_USE enum hf_status hf_observer_configured(const char *text, hf_observer_found_cb found,
                                                  void *arg, struct hf_error *err);
/* Those whose leading JobManager has published its REST address in the store. */
void hf_observer_registered(struct hf_keyspace ks, hf_observer_found_cb found, void *arg);
void hf_observer_scanned(const struct hf_scanner *scanner, hf_observer_found_cb found, void *arg);

#endif
