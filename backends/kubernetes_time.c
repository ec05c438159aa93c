#include "backends/kubernetes_time.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Howard Hinnant's count of days of the civil calendar. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    unsigned of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    unsigned days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;

    return era * 146097 + (int64_t)days - 719468;
}

/* Minutes east of Greenwich; false: it is no offset. */
static bool offset_of(const char *text, int64_t *out)
{
    unsigned hours;
    unsigned minutes;

    if (strcmp(text, "Z") == 0) {
        *out = 0;
        return true;
    }
    if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 ||
        sscanf(text + 1, "%2u:%2u", &hours, &minutes) != 2)
        return false;
    *out = (int64_t)(hours * 60 + minutes) * (text[0] == '-' ? -1 : 1);
    return true;
}

uint64_t hf_kube_time_parse(const char *text)
{
    unsigned year, month, day, hour, minute, second;
    int used = 0;
    int64_t offset;
    unsigned ms = 0;

    if (sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u%n", &year, &month, &day, &hour, &minute, &second,
               &used) != 6 ||
        used != 19 || year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 60)
        return 0;
    text += used;
    if (*text == '.') {
        unsigned unit = 100;
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
            ms += (unsigned)(*text - '0') * unit;
    }
    if (!offset_of(text, &offset))
        return 0;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    seconds -= offset * 60;
    return seconds > 0 ? (uint64_t)seconds * 1000 + ms : 0;
}

uint64_t hf_kube_duration_parse(const char *text)
{
    double seconds = 0;

    if (strncmp(text, "PT", 2) != 0)
        return 0;
    for (text += 2; *text != '\0'; text++) {
        char *end;
        if (*text < '0' || *text > '9')
            return 0;
        double number = strtod(text, &end);
        if (!(number <= 1e9))
            return 0;
        text = end;
        if (*text == 'H')
            seconds += number * 3600;
        else if (*text == 'M')
            seconds += number * 60;
        else if (*text == 'S')
            seconds += number;
        else
            return 0;
    }
    return (uint64_t)(seconds * 1000);
}
