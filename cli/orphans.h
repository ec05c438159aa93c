/* cli/orphans.h: evidence and verdicts as people and programs read them. */
#ifndef HF_CLI_ORPHANS_H
#define HF_CLI_ORPHANS_H

#include "cli/cli.h"
#include "collect/orphans.h"

/* The caller's; NULL: no memory. */
json_t *hf_cli_evidence_json(const struct hf_evidence *evidence);

/* All reasons, and what would happen at the next start. */
void hf_cli_explain(FILE *out, const struct hf_orphans *orphans, size_t index);
/* What a clean-up would remove. */
void hf_cli_plan(FILE *out, const struct hf_evidence *evidence, bool keeps_files);

#endif
