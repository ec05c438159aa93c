#include "daemon/alert_sender.h"

#include "alerts/message.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/http_client.h"
#include "loop/smtp.h"
#include "loop/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LINE_MAX = 4096, ANSWER_MAX = 64 * 1024, CONNECTIONS = 16, MAILERS = 2 };

struct hf_alert_sender {
    const struct hf_config *config;
    struct hf_http_client *client;
    struct hf_worker *worker;
    atomic_bool cancel;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct delivery {
    struct hf_alert_sender *sender;
    enum hf_alert_channel channel;
    hf_alert_sent_cb sent;
    void *arg;
    struct hf_buf body;
    struct hf_http_request request;
    char url[FILE_LINE_MAX + 256];
    char secret[FILE_LINE_MAX + 16]; /* password, or the Authorization header */
    char retry_after[16];
    struct hf_http_field field;
    struct hf_http_header headers[2];
    struct hf_job job;
    enum hf_status mailed;
    struct hf_error error;
};

/* ---------------------------------------------------------------------------- files */

/* The whole file, at most size - 1 bytes. The error names the setting, and nothing of what is in
 * the file. */
static enum hf_status file_read(const char *key, const char *path, char *out, size_t size,
                                struct hf_error *err)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return hf_error_set(err, HF_INVALID, "%s: %.300s: %s", key, path, strerror(errno));
    size_t n = fread(out, 1, size, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed || n >= size || memchr(out, '\0', n) != NULL) {
        explicit_bzero(out, size);
        return hf_error_set(err, HF_INVALID, "%s: %.300s: %s", key, path,
                            failed ? "it cannot be read" : "it is too long, or no text");
    }
    out[n] = '\0';
    return HF_OK;
}

/* The one line that is in the file, without blanks around it. */
static enum hf_status line_read(const char *key, const char *path, char *out, size_t size,
                                struct hf_error *err)
{
    enum hf_status status = file_read(key, path, out, size, err);

    if (status != HF_OK)
        return status;
    size_t begin = strspn(out, " \t\r\n");
    size_t n = strlen(out + begin);
    while (n > 0 && strchr(" \t\r\n", out[begin + n - 1]) != NULL)
        n--;
    memmove(out, out + begin, n);
    out[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)out[i] <= ' ' || (unsigned char)out[i] >= 0x7f)
            n = 0;
    }
    if (n == 0) {
        explicit_bzero(out, size);
        return hf_error_set(err, HF_INVALID, "%s: %.300s does not hold one line without blanks",
                            key, path);
    }
    return HF_OK;
}

static enum hf_status url_read(const char *key, const char *path, char *out, size_t size,
                               struct hf_error *err)
{
    enum hf_status status = line_read(key, path, out, size, err);

    if (status == HF_OK && strncmp(out, "https://", 8) != 0 && strncmp(out, "http://", 7) != 0) {
        explicit_bzero(out, size);
        status =
            hf_error_set(err, HF_INVALID, "%s: %.300s does not hold an http(s):// URL", key, path);
    }
    return status;
}

static enum hf_status secret_read(const char *key, const char *path, char *out, size_t size,
                                  struct hf_error *err)
{
    out[0] = '\0';
    if (path[0] == '\0')
        return HF_OK;
    enum hf_status status = line_read(key, path, out, size, err);
    if (status == HF_OK && strlen(out) > HF_ALERT_SECRET_MAX) {
        explicit_bzero(out, size);
        status = hf_error_set(err, HF_INVALID, "%s: %.300s is too long", key, path);
    }
    return status;
}

/* NULL without an error: there is none. */
static enum hf_status template_read(const struct hf_config *config, char **out,
                                    struct hf_error *err)
{
    *out = NULL;
    if (config->alerts_webhook_template[0] == '\0')
        return HF_OK;
    char *text = hf_malloc(HF_ALERT_TEMPLATE_MAX);
    if (text == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    enum hf_status status =
        file_read("alerts.webhook.template-file", config->alerts_webhook_template, text,
                  HF_ALERT_TEMPLATE_MAX, err);
    if (status == HF_OK) {
        status = hf_alert_template_check(text, err);
        if (status != HF_OK)
            hf_error_wrap(err, status, "alerts.webhook.template-file");
    }
    if (status != HF_OK)
        hf_free(text);
    else
        *out = text;
    return status;
}

struct robot {
    enum hf_alert_channel channel;
    const char *url_key;
    const char *url;
    const char *secret_key;
    const char *secret;
};

static struct robot robot_of(const struct hf_config *c, enum hf_alert_channel channel)
{
    const struct robot robots[] = {
        [HF_ALERT_WEBHOOK] = {HF_ALERT_WEBHOOK, "alerts.webhook.url-file", c->alerts_webhook_url,
                              "alerts.webhook.token-file", c->alerts_webhook_token},
        [HF_ALERT_DINGTALK] = {HF_ALERT_DINGTALK, "alerts.dingtalk.url-file",
                               c->alerts_dingtalk_url, "alerts.dingtalk.secret-file",
                               c->alerts_dingtalk_secret},
        [HF_ALERT_WECOM] = {HF_ALERT_WECOM, "alerts.wecom.url-file", c->alerts_wecom_url, "", ""},
        [HF_ALERT_FEISHU] = {HF_ALERT_FEISHU, "alerts.feishu.url-file", c->alerts_feishu_url,
                             "alerts.feishu.secret-file", c->alerts_feishu_secret},
        [HF_ALERT_SLACK] = {HF_ALERT_SLACK, "alerts.slack.url-file", c->alerts_slack_url, "", ""},
    };

    hf_assert(channel < HF_ALERT_EMAIL);
    return robots[channel];
}

unsigned hf_alert_channels(const struct hf_config *config)
{
    unsigned channels = config->alerts_email_server[0] != '\0' ? 1u << HF_ALERT_EMAIL : 0;

    for (int c = 0; c < HF_ALERT_EMAIL; c++) {
        if (robot_of(config, (enum hf_alert_channel)c).url[0] != '\0')
            channels |= 1u << c;
    }
    return channels;
}

/* ---------------------------------------------------------------------------- the end of a try */

static void delivery_end(struct delivery *d, bool good, uint64_t pause_ms, const char *error)
{
    struct hf_alert_outcome outcome = {.good = good, .pause_ms = pause_ms};
    hf_alert_sent_cb sent = d->sent;
    void *arg = d->arg;
    enum hf_alert_channel channel = d->channel;

    hf_alert_text(outcome.error, sizeof outcome.error, good ? "" : error);
    explicit_bzero(d->secret, sizeof d->secret);
    explicit_bzero(d->url, sizeof d->url);
    hf_http_request_release(&d->request);
    hf_buf_release(&d->body);
    hf_free(d);
    sent(arg, channel, &outcome);
}

/* What the robots say: HTTP 200 also for failures, with a number that is not 0. */
static bool robot_is_glad(struct hf_bytes answer, char *out, size_t size)
{
    static const char *const codes[] = {"errcode", "code", "StatusCode"};
    static const char *const texts[] = {"errmsg", "msg", "StatusMessage"};
    json_t *json = json_loadb((const char *)answer.data, answer.size, JSON_DECODE_ANY, NULL);
    bool good = false;

    snprintf(out, size, "the answer is not what the service answers");
    for (size_t i = 0; i < HF_COUNT_OF(codes); i++) {
        const json_t *code = json_object_get(json, codes[i]);
        const char *text = json_string_value(json_object_get(json, texts[i]));
        if (!json_is_integer(code))
            continue;
        good = json_integer_value(code) == 0;
        snprintf(out, size, "refused: %s %" JSON_INTEGER_FORMAT ": %.150s", codes[i],
                 json_integer_value(code), text != NULL ? text : "");
        break;
    }
    json_decref(json);
    return good;
}

static void answered(struct hf_http_request *request, enum hf_status status)
{
    struct delivery *d = request->arg;
    struct hf_bytes answer = hf_buf_bytes(&request->response);
    uint64_t pause_s = 0;
    char text[256];

    if (status != HF_OK) {
        snprintf(text, sizeof text, "%.250s", request->error.text);
        delivery_end(d, false, 0, text);
        return;
    }
    for (const char *at = d->retry_after; *at >= '0' && *at <= '9' && pause_s < 3600; at++)
        pause_s = pause_s * 10 + (uint64_t)(*at - '0');
    bool good = request->code >= 200 && request->code < 300;
    snprintf(text, sizeof text, "HTTP %d: %.*s", request->code,
             (int)(answer.size < 160 ? answer.size : 160),
             answer.size > 0 ? (const char *)answer.data : "");
    if (good && (d->channel == HF_ALERT_DINGTALK || d->channel == HF_ALERT_WECOM ||
                 d->channel == HF_ALERT_FEISHU))
        good = robot_is_glad(answer, text, sizeof text);
    delivery_end(d, good, pause_s * 1000, text);
}

/* ---------------------------------------------------------------------------- mail */

static void mail_run(struct hf_job *job)
{
    struct delivery *d = HF_CONTAINER_OF(job, struct delivery, job);
    const struct hf_config *c = d->sender->config;
    const struct hf_smtp_mail mail = {
        .server = c->alerts_email_server,
        .allow_plain = c->alerts_email_plain != 0,
        .ca_file = c->alerts_ca_file[0] != '\0' ? c->alerts_ca_file : NULL,
        .from = c->alerts_email_from,
        .to = c->alerts_email_to,
        .user = c->alerts_email_user[0] != '\0' ? c->alerts_email_user : NULL,
        .password = d->secret,
        .message = hf_buf_bytes(&d->body),
        .timeout_ms = c->alerts_timeout,
        .cancel = &d->sender->cancel,
    };

    d->mailed = hf_smtp_send(&mail, &d->error);
}

static void mail_done(struct hf_job *job)
{
    struct delivery *d = HF_CONTAINER_OF(job, struct delivery, job);
    char text[256];

    snprintf(text, sizeof text, "%.250s", d->error.text);
    delivery_end(d, d->mailed == HF_OK, 0, text);
}

/* ---------------------------------------------------------------------------- a try */

static void mail_start(struct delivery *d)
{
    d->job.run = mail_run;
    d->job.done = mail_done;
    hf_worker_submit(d->sender->worker, &d->job);
}

static void post_start(struct delivery *d, bool has_token)
{
    const struct hf_config *c = d->sender->config;

    d->headers[0] = (struct hf_http_header){"Content-Type", "application/json; charset=utf-8"};
    d->headers[1] = (struct hf_http_header){"Authorization", d->secret};
    d->field = (struct hf_http_field){
        .name = "Retry-After", .value = d->retry_after, .value_size = sizeof d->retry_after};
    d->request = (struct hf_http_request){
        .arg = d,
        .method = "POST",
        .url = d->url,
        .headers = d->headers,
        .header_count = has_token ? 2 : 1,
        .body = hf_buf_bytes(&d->body),
        .connect_ms = c->alerts_timeout,
        .total_ms = c->alerts_timeout,
        .fields = &d->field,
        .field_count = 1,
    };
    hf_buf_init(&d->request.response, ANSWER_MAX);
    hf_http_start(d->sender->client, &d->request, answered);
}

/* Reads what the channel needs and makes the body. */
static enum hf_status delivery_fill(struct delivery *d, const struct hf_alert_message *message,
                                    struct hf_error *err)
{
    const struct hf_config *c = d->sender->config;
    struct hf_alert_format format = {.from = c->alerts_email_from, .to = c->alerts_email_to};
    char *template_ = NULL;
    enum hf_status status;

    if (d->channel == HF_ALERT_EMAIL) {
        status = secret_read("alerts.email.password-file", c->alerts_email_password, d->secret,
                             FILE_LINE_MAX, err);
        hf_random_bytes(&format.nonce, sizeof format.nonce);
    } else {
        struct robot robot = robot_of(c, d->channel);
        status = url_read(robot.url_key, robot.url, d->url, FILE_LINE_MAX, err);
        if (status == HF_OK)
            status = secret_read(robot.secret_key, robot.secret, d->secret, FILE_LINE_MAX, err);
        format.secret = d->secret;
    }
    if (status == HF_OK && d->channel == HF_ALERT_WEBHOOK)
        status = template_read(c, &template_, err);
    if (status == HF_OK) {
        format.template_ = template_;
        if (!hf_alert_format(d->channel, message, &format, &d->body))
            status = hf_error_set(err, d->body.failed, "no memory, or the message is too long");
    }
    hf_free(template_);
    return status;
}

/* A DingTalk robot's signature, a webhook's header. */
static enum hf_status delivery_sign(struct delivery *d, uint64_t wall_ms, struct hf_error *err)
{
    char secret[HF_ALERT_SECRET_MAX + 1];
    struct hf_buf sign;

    if (d->secret[0] == '\0')
        return HF_OK;
    if (d->channel == HF_ALERT_WEBHOOK) {
        snprintf(secret, sizeof secret, "%s", d->secret);
        snprintf(d->secret, sizeof d->secret, "Bearer %s", secret);
        explicit_bzero(secret, sizeof secret);
    }
    if (d->channel != HF_ALERT_DINGTALK)
        return HF_OK;
    hf_buf_init(&sign, 250);
    bool good = hf_alert_sign_dingtalk(d->secret, wall_ms, &sign);
    size_t n = strlen(d->url);
    if (good && n + sign.size < sizeof d->url) {
        memcpy(d->url + n, sign.data, sign.size);
        d->url[n + sign.size] = '\0';
    } else {
        good = false;
    }
    hf_buf_release(&sign);
    return good ? HF_OK : hf_error_set(err, HF_NO_MEMORY, "no memory");
}

void hf_alert_send(struct hf_alert_sender *sender, enum hf_alert_channel channel,
                   const struct hf_alert_message *message, hf_alert_sent_cb sent, void *arg)
{
    struct delivery *d = hf_calloc(1, sizeof *d);
    struct hf_error err;

    if (d == NULL) {
        sent(arg, channel, &(struct hf_alert_outcome){.error = "no memory"});
        return;
    }
    d->sender = sender;
    d->channel = channel;
    d->sent = sent;
    d->arg = arg;
    hf_buf_init(&d->body, HF_ALERT_BODY_MAX);
    enum hf_status status = delivery_fill(d, message, &err);
    if (status == HF_OK)
        status = delivery_sign(d, message->wall_ms, &err);
    if (status != HF_OK)
        delivery_end(d, false, 0, err.text);
    else if (channel == HF_ALERT_EMAIL)
        mail_start(d);
    else
        post_start(d, channel == HF_ALERT_WEBHOOK && d->secret[0] != '\0');
}

/* ---------------------------------------------------------------------------- life cycle */

/* What can be found out before anything has to be told. */
static enum hf_status files_check(const struct hf_config *config, struct hf_error *err)
{
    char *line = hf_malloc(FILE_LINE_MAX);
    enum hf_status status = line != NULL ? HF_OK : hf_error_set(err, HF_NO_MEMORY, "no memory");

    for (int c = 0; c < HF_ALERT_EMAIL && status == HF_OK; c++) {
        struct robot robot = robot_of(config, (enum hf_alert_channel)c);
        if (robot.url[0] == '\0')
            continue;
        status = url_read(robot.url_key, robot.url, line, FILE_LINE_MAX, err);
        if (status == HF_OK)
            status = secret_read(robot.secret_key, robot.secret, line, FILE_LINE_MAX, err);
    }
    if (status == HF_OK)
        status = secret_read("alerts.email.password-file", config->alerts_email_password, line,
                             FILE_LINE_MAX, err);
    if (line != NULL)
        explicit_bzero(line, FILE_LINE_MAX);
    hf_free(line);
    if (status == HF_OK) {
        char *template_;
        status = template_read(config, &template_, err);
        if (status == HF_OK)
            hf_free(template_);
    }
    return status;
}

enum hf_status hf_alert_sender_new(struct hf_alert_sender **out_sender, uv_loop_t *loop,
                                   const struct hf_config *config, struct hf_error *err)
{
    struct hf_http_client_options options = {
        .connections_max = CONNECTIONS,
        .queue_max = CONNECTIONS,
        .ca_file = config->alerts_ca_file[0] != '\0' ? config->alerts_ca_file : NULL,
        .proxy = config->alerts_proxy[0] != '\0' ? config->alerts_proxy : NULL,
    };
    enum hf_status status = files_check(config, err);

    if (status != HF_OK)
        return status;
    struct hf_alert_sender *sender = hf_calloc(1, sizeof *sender);
    if (sender == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    sender->config = config;
    sender->worker = hf_worker_new(loop, MAILERS);
    if (sender->worker == NULL) {
        hf_free(sender);
        return hf_error_set(err, HF_NO_MEMORY, "no memory or no threads");
    }
    status = hf_http_client_new(&sender->client, loop, &options, err);
    if (status != HF_OK) {
        hf_error_wrap(err, status, "alerts.ca-file or alerts.proxy");
        sender->client = NULL;
    }
    *out_sender = sender; /* to be closed also when it failed */
    return status;
}

static void worker_closed(void *arg)
{
    struct hf_alert_sender *sender = arg;
    void (*closed)(void *arg) = sender->closed;
    void *closed_arg = sender->closed_arg;

    hf_free(sender);
    closed(closed_arg);
}

static void client_closed(void *arg)
{
    struct hf_alert_sender *sender = arg;

    hf_worker_close(sender->worker, worker_closed, sender);
}

void hf_alert_sender_close(struct hf_alert_sender *sender, void (*closed)(void *arg), void *arg)
{
    sender->closed = closed;
    sender->closed_arg = arg;
    atomic_store(&sender->cancel, true);
    if (sender->client != NULL)
        hf_http_client_close(sender->client, client_closed, sender);
    else
        client_closed(sender);
}
