#include "control.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_RULES 64
#define MAX_COUNTERS 120
#define MAX_PROCESSES 256

struct rule {
  enum { LATENCY, ANSWER, HANG, CRASH, CORRUPT } what;
  char function[64];
  double milliseconds;
  CK_RV answer;
  long times; /* -1: always */
};

struct identity { uint64_t inode, seconds, nanoseconds, size; };

/* Mapped from <control>.state. Counters and processes come first, so that a reader does not need the rest. */
struct shared {
  struct { char name[24]; uint64_t value; } counters[MAX_COUNTERS + 8];
  struct { int64_t pid, sessions, in_flight; } processes[MAX_PROCESSES];
  pthread_mutex_t lock;
  struct identity identity;
  long used[MAX_RULES];
  uint64_t window, in_window, next;
};

static struct shared *shared;
static pthread_mutex_t local = PTHREAD_MUTEX_INITIALIZER;
static struct identity seen;
static struct settings settings;
static struct rule rules[MAX_RULES];
static int rule_count;

static const struct { const char *name; CK_RV value; } names[] = {
  {"CKR_GENERAL_ERROR", 5}, {"CKR_FUNCTION_FAILED", 6}, {"CKR_ARGUMENTS_BAD", 7}, {"CKR_DEVICE_ERROR", 48},
  {"CKR_DEVICE_MEMORY", 49}, {"CKR_DEVICE_REMOVED", 50}, {"CKR_ENCRYPTED_DATA_INVALID", 64},
  {"CKR_KEY_HANDLE_INVALID", 96}, {"CKR_KEY_FUNCTION_NOT_PERMITTED", 104}, {"CKR_MECHANISM_INVALID", 112},
  {"CKR_MECHANISM_PARAM_INVALID", 113}, {"CKR_OBJECT_HANDLE_INVALID", 130}, {"CKR_OPERATION_ACTIVE", 144},
  {"CKR_OPERATION_NOT_INITIALIZED", 145}, {"CKR_PIN_INCORRECT", 160}, {"CKR_PIN_EXPIRED", 163},
  {"CKR_PIN_LOCKED", 164}, {"CKR_SESSION_CLOSED", 176}, {"CKR_SESSION_COUNT", 177},
  {"CKR_SESSION_HANDLE_INVALID", 179}, {"CKR_TEMPLATE_INCONSISTENT", 209}, {"CKR_TOKEN_NOT_PRESENT", 224},
  {"CKR_USER_NOT_LOGGED_IN", 257}, {"CKR_CRYPTOKI_NOT_INITIALIZED", 400},
};

static void die(const char *line) {
  fprintf(stderr, "fault-hsm: cannot read \"%s\" (test/fault-hsm/README.md has the language)\n", line);
  abort();
}

static const char *path(const char *suffix, char *out, size_t size) {
  const char *control = getenv("FAULT_HSM_CONTROL");
  snprintf(out, size, "%s%s", control ? control : "/dev/null", suffix);
  return out;
}

/* A process that was killed inside leaves the lock to the next one. */
static void lock_shared(void) {
  if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD) pthread_mutex_consistent(&shared->lock);
}
static void unlock_shared(void) { pthread_mutex_unlock(&shared->lock); }

static void attach(void) {
  char name[4096];
  int fd = open(path(".state", name, sizeof name), O_RDWR | O_CREAT, 0600);
  if (fd < 0) die("FAULT_HSM_CONTROL");
  flock(fd, LOCK_EX);
  struct stat info;
  bool fresh = fstat(fd, &info) == 0 && info.st_size == 0;
  if (fresh && ftruncate(fd, sizeof *shared) != 0) die(name);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED) die(name);
  if (fresh) {
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->lock, &robust);
  }
  flock(fd, LOCK_UN); /* the mapping keeps the file open, and with it the lock */
  close(fd);
}

static CK_RV number(const char *word) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(word, names[i].name) == 0) return names[i].value;
  char *end;
  CK_RV value = strtoul(word, &end, 0);
  if (*end != 0 || end == word) die(word);
  return value;
}

static void parse_attribute(struct settings *to, const char *type, const char *hex) {
  int n = to->attribute_count++;
  if (n >= 8) die("attribute");
  to->attributes[n].type = number(type);
  to->attributes[n].length = -1;
  if (strcmp(hex, "none") == 0) return;
  long length = (long)strlen(hex) / 2;
  for (long i = 0; i < length && i < 64; i++) {
    unsigned byte;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1) die(hex);
    to->attributes[n].value[i] = (CK_BYTE)byte;
  }
  to->attributes[n].length = length;
}

static int place(const char *word, const char *const *words, int count) {
  for (int i = 0; i < count; i++) if (strcmp(word, words[i]) == 0) return i;
  die(word);
  return -1;
}

static void parse_iv(struct settings *to, const char *mode, const char *length, const char *form, const char *source) {
  static const char *const modes[] = {"caller", "ignored", "hsm-writes", "prefix", "suffix"};
  static const char *const sources[] = {"random", "counting", "fixed"};
  bool repeats = strcmp(mode, "hsm-repeats") == 0;
  to->iv = repeats ? IV_HSM_WRITES : (enum iv_mode)place(mode, modes, 5);
  if (sscanf(source, "every-%lu", &to->iv_period) == 1) source = "counting";
  to->iv_source = repeats ? IV_FIXED : *source ? (enum iv_source)place(source, sources, 3) : IV_RANDOM;
  to->iv_length = *length ? number(length) : 12;
  to->iv_joined = *form ? strcmp(form, "joined") == 0 : to->iv == IV_PREFIX;
}

static void parse_pin(struct settings *to, const char *what) {
  if (strcmp(what, "refused") == 0) to->login = CKR_PIN_INCORRECT;
  else if (strcmp(what, "locked") == 0) to->login = CKR_PIN_LOCKED, to->pin_flags = CKF_USER_PIN_LOCKED;
  else if (strcmp(what, "final-try") == 0) to->pin_flags = CKF_USER_PIN_FINAL_TRY;
  else if (strcmp(what, "count-low") == 0) to->pin_flags = CKF_USER_PIN_COUNT_LOW;
  else die(what);
}

static void parse_rule(int what, const char *a, const char *b, const char *c) {
  if (rule_count == MAX_RULES) die("more than 64 rules");
  struct rule *rule = &rules[rule_count++];
  *rule = (struct rule){.what = what, .times = -1};
  snprintf(rule->function, sizeof rule->function, "%s", a);
  const char *times = b;
  if (what == LATENCY) rule->milliseconds = atof(b), times = c;
  if (what == ANSWER) rule->answer = number(b), times = c;
  if (*times) rule->times = (long)number(times);
}

static void parse(char *line) {
  static const char *kinds[] = {"latency", "answer", "hang", "crash", "corrupt"};
  char word[64] = "", a[64] = "", b[160] = "", c[64] = "", d[64] = "";
  if (sscanf(line, "%63s %63s %159s %63s %63s", word, a, b, c, d) < 1 || word[0] == '#') return;
  for (int what = LATENCY; what <= CORRUPT; what++)
    if (strcmp(word, kinds[what]) == 0) return parse_rule(what, a, b, c);
  if (strcmp(word, "device") == 0 && strcmp(a, "removed") == 0) settings.removed = settings.drop = true;
  else if (strcmp(word, "sessions") == 0 && strcmp(a, "dropped") == 0) settings.drop = true;
  else if (strcmp(word, "sessions") == 0) settings.sessions = number(a);
  else if (strcmp(word, "handles") == 0 && strcmp(a, "stale") == 0) settings.stale = true;
  else if (strcmp(word, "pin") == 0) parse_pin(&settings, a);
  else if (strcmp(word, "iv") == 0) parse_iv(&settings, a, b, c, d);
  else if (strcmp(word, "keys") == 0 && strcmp(a, "sensitive") == 0) settings.no_plain_keys = true;
  else if (strcmp(word, "dead") == 0) settings.dead = number(a);
  else if (strcmp(word, "user") == 0) settings.user = number(a), settings.has_user = true;
  else if (strcmp(word, "foreign") == 0 && settings.foreign_count < 8) settings.foreign[settings.foreign_count++] = number(a);
  else if (strcmp(word, "slots") == 0) settings.slots = number(a), settings.distinct_serials = *b != 0;
  else if (strcmp(word, "without") == 0 && settings.hidden_count < 8) settings.hidden[settings.hidden_count++] = number(a);
  else if (strcmp(word, "attribute") == 0) parse_attribute(&settings, a, b);
  else if (strcmp(word, "throttle") == 0) settings.per_second = (long)number(a);
  else if (strcmp(word, "busy") == 0) settings.at_once = (long)number(a);
  else die(line);
}

/* The caller holds `local`. */
static bool refresh(void) {
  if (shared == NULL) attach();
  char name[4096];
  struct stat info;
  struct identity now = {0};
  if (stat(path("", name, sizeof name), &info) == 0 && S_ISREG(info.st_mode))
    now = (struct identity){info.st_ino, (uint64_t)info.st_mtim.tv_sec, (uint64_t)info.st_mtim.tv_nsec, (uint64_t)info.st_size};
  if (memcmp(&now, &seen, sizeof now) == 0) return false;
  seen = now;
  memset(&settings, 0, sizeof settings);
  rule_count = 0;
  FILE *file = now.inode == 0 ? NULL : fopen(name, "r");
  char line[512];
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    parse(line);
  }
  if (file != NULL) fclose(file);
  lock_shared();
  if (memcmp(&shared->identity, &now, sizeof now) != 0) {
    shared->identity = now;
    memset(shared->used, 0, sizeof shared->used);
    for (int i = 0; i < MAX_PROCESSES; i++) shared->processes[i].in_flight = 0;
  }
  unlock_shared();
  return true;
}

bool control_refresh(struct settings *out) {
  pthread_mutex_lock(&local);
  bool changed = refresh();
  *out = settings;
  pthread_mutex_unlock(&local);
  return changed;
}

static bool is_crypt(const char *function) {
  return strcmp(function, "C_Encrypt") == 0 || strcmp(function, "C_Decrypt") == 0;
}

static bool matches(const struct rule *rule, const char *function) {
  if (strcmp(rule->function, "crypt") == 0) return is_crypt(function);
  return strcmp(rule->function, "all") == 0 || strcmp(rule->function, function) == 0;
}

/* Whether the rule has uses left; all processes count together. */
static bool take(int index) {
  if (rules[index].times < 0) return true;
  lock_shared();
  bool left = shared->used[index] < rules[index].times;
  if (left) shared->used[index] += 1;
  unlock_shared();
  return left;
}

/* This process's row; the caller holds the shared lock. Rows of ended processes do not count. */
static int my_row(void) {
  int pid = getpid(), free = -1;
  for (int i = 0; i < MAX_PROCESSES; i++) {
    if (shared->processes[i].pid == pid) return i;
    bool gone = shared->processes[i].pid == 0 || (kill((pid_t)shared->processes[i].pid, 0) != 0 && errno == ESRCH);
    if (gone) memset(&shared->processes[i], 0, sizeof shared->processes[i]);
    if (gone && free < 0) free = i;
  }
  if (free < 0) die("more than 256 processes");
  shared->processes[free].pid = pid;
  return free;
}

static bool overloaded(const struct settings *now) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  uint64_t window = (uint64_t)time.tv_sec * 20 + (uint64_t)time.tv_nsec / 50000000;
  lock_shared();
  int row = my_row();
  long in_flight = 0;
  for (int i = 0; i < MAX_PROCESSES; i++) in_flight += shared->processes[i].in_flight;
  if (shared->window != window) shared->window = window, shared->in_window = 0;
  bool too_many = (now->at_once > 0 && in_flight >= now->at_once) ||
                  (now->per_second > 0 && (long)shared->in_window * 20 >= now->per_second);
  if (!too_many) shared->processes[row].in_flight += 1, shared->in_window += 1;
  unlock_shared();
  return too_many;
}

void control_leave(const char *function) {
  if (!is_crypt(function) || (settings.at_once == 0 && settings.per_second == 0)) return;
  lock_shared();
  int row = my_row();
  if (shared->processes[row].in_flight > 0) shared->processes[row].in_flight -= 1;
  unlock_shared();
}

static void wait_for(double milliseconds) {
  struct timespec time = {(time_t)(milliseconds / 1000), 0};
  time.tv_nsec = (long)((milliseconds - 1000.0 * (double)time.tv_sec) * 1e6);
  while (nanosleep(&time, &time) != 0 && errno == EINTR) continue;
}

struct verdict control_meet(const char *function) {
  struct verdict verdict = {CKR_OK, false};
  bool hang = false, crash = false;
  double latency = 0;
  pthread_mutex_lock(&local);
  for (int i = 0; i < rule_count; i++) {
    if (!matches(&rules[i], function) || verdict.answer != CKR_OK || !take(i)) continue;
    if (rules[i].what == LATENCY) latency += rules[i].milliseconds;
    else if (rules[i].what == ANSWER) verdict.answer = rules[i].answer;
    else if (rules[i].what == HANG) hang = true;
    else if (rules[i].what == CRASH) crash = true;
    else verdict.corrupt = true;
  }
  struct settings now = settings;
  pthread_mutex_unlock(&local);
  control_count(function);
  if (is_crypt(function) && verdict.answer == CKR_OK && (now.at_once > 0 || now.per_second > 0) && overloaded(&now))
    verdict.answer = CKR_FUNCTION_FAILED;
  if (latency > 0) wait_for(latency);
  if (crash) abort();
  while (hang) pause();
  if (verdict.answer != CKR_OK) control_count("answered instead");
  return verdict;
}

void control_count(const char *name) {
  if (shared == NULL) return;
  for (int i = 0; i < MAX_COUNTERS; i++) {
    if (strncmp(shared->counters[i].name, name, 23) == 0) {
      __atomic_add_fetch(&shared->counters[i].value, 1, __ATOMIC_RELAXED);
      return;
    }
    if (shared->counters[i].name[0] != 0) continue;
    lock_shared();
    if (shared->counters[i].name[0] == 0) snprintf(shared->counters[i].name, 24, "%s", name);
    unlock_shared();
    i -= 1; /* another process may have taken the row in between */
  }
}

bool control_sessions(long change, CK_ULONG limit) {
  lock_shared();
  int row = my_row();
  long open = 0;
  for (int i = 0; i < MAX_PROCESSES; i++) open += shared->processes[i].sessions;
  bool fits = change < 0 || limit == 0 || (CK_ULONG)open < limit;
  if (fits && shared->processes[row].sessions + change >= 0) shared->processes[row].sessions += change;
  unlock_shared();
  return fits;
}

void control_sessions_gone(void) {
  lock_shared();
  shared->processes[my_row()].sessions = 0;
  unlock_shared();
}

unsigned long control_next(void) {
  return __atomic_add_fetch(&shared->next, 1, __ATOMIC_RELAXED);
}

void control_log(const char *function, CK_RV rv, CK_ULONG user) {
  char name[4096];
  int fd = open(path(".log", name, sizeof name), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0) return;
  dprintf(fd, "%s %lu %d %d %lu\n", function, rv, getpid(), getppid(), user);
  close(fd);
}
