/* What note.sh does, as a program that takes a tenth of the time: many of them at one instant measure ucron and not
 * shells. One line, in one write, appended to $LEDGER. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *of(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

int main(void) {
  struct timespec now;
  char line[1024];
  clock_gettime(CLOCK_REALTIME, &now);
  int len = snprintf(line, sizeof line, "%s/%s %s %s %s %lld %d %u %s %s %s\n", of("UCRON_GROUP"), of("UCRON_TASK"),
                     of("UCRON_AGENT"), of("UCRON_RUN_ID"), of("UCRON_SCHEDULED_AT"),
                     (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, getpid(), getuid(), of("UCRON_CAUSE"),
                     of("UCRON_SLOT"), of("UCRON_ATTEMPT"));
  int ledger = open(of("LEDGER"), O_WRONLY | O_APPEND | O_CREAT, 0666);
  return ledger < 0 || write(ledger, line, len) != len;
}
