/*
 * A PKCS#11 module that passes everything on to another one, except what a control file tells it to spoil. A seed of the
 * fault module of 3-hsm.md: enough for the pool's tests.
 *
 * FAULT_MODULE   path of the real module
 * FAULT_CONTROL  path of the control file; a missing or empty one spoils nothing. A line each:
 *                  <function> <what> <count>
 *                what: a CKR number to answer instead of calling, `hang`, `crash`, or `delay:<milliseconds>`;
 *                count: how many calls, over all processes, in four digits; -1 for ever.
 * Each call of C_Login and C_OpenSession is appended to <FAULT_CONTROL>.log, with its answer and the process id.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#define CK_PTR *
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType(*name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType(*name)
#ifndef NULL_PTR
#define NULL_PTR 0
#endif
#include <pkcs11/pkcs11.h>

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST ours;

static void note(const char *function, CK_RV rv) {
  char path[4096];
  snprintf(path, sizeof path, "%s.log", getenv("FAULT_CONTROL"));
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0) return;
  dprintf(fd, "%s %lu %d\n", function, rv, getpid());
  close(fd);
}

/* What the control file says about this call: a CKR to answer, or CKR_OK to go on. Counts are lowered under a lock. */
static CK_RV spoil(const char *function) {
  int fd = open(getenv("FAULT_CONTROL"), O_RDWR);
  if (fd < 0) return CKR_OK;
  flock(fd, LOCK_EX);
  char text[4096] = {0}, found[64] = {0};
  ssize_t length = read(fd, text, sizeof text - 1);
  for (char *line = text; length > 0 && *line != 0; line = strchr(line, '\n') + 1) {
    char name[64], what[64];
    int count, at;
    if (strchr(line, '\n') == NULL) break;
    if (sscanf(line, "%63s %63s %n%d", name, what, &at, &count) != 3) continue;
    if (count == 0 || strcmp(name, function) != 0) continue;
    strcpy(found, what);
    if (count > 0) {
      /* In place and at once: the process may be killed at any time, and the file must stay whole. */
      char lower[8];
      sprintf(lower, "%04d", count - 1);
      if (pwrite(fd, lower, 4, line + at - text) != 4) abort();
    }
    break;
  }
  close(fd);
  if (!found[0]) return CKR_OK;
  if (strcmp(found, "crash") == 0) abort();
  if (strcmp(found, "hang") == 0) for (;;) pause();
  if (strncmp(found, "delay:", 6) == 0) {
    usleep(1000 * (useconds_t)atoi(found + 6));
    return CKR_OK;
  }
  return strtoul(found, NULL, 10);
}

#define PASS(function, parameters, arguments)   \
  static CK_RV our_##function parameters {      \
    CK_RV rv = spoil(#function);                \
    return rv == CKR_OK ? real->function arguments : rv; \
  }

PASS(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info), (slot, info))
PASS(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count), (present, list, count))
PASS(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count), (slot, list, count))
PASS(C_GenerateKey, (CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR k), (s, m, t, n, k))
PASS(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR t, CK_ULONG n), (s, t, n))
PASS(C_EncryptInit, (CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE k), (s, m, k))
PASS(C_DecryptInit, (CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE k), (s, m, k))
PASS(C_Encrypt, (CK_SESSION_HANDLE s, CK_BYTE_PTR d, CK_ULONG n, CK_BYTE_PTR e, CK_ULONG_PTR m), (s, d, n, e, m))
PASS(C_Decrypt, (CK_SESSION_HANDLE s, CK_BYTE_PTR e, CK_ULONG n, CK_BYTE_PTR d, CK_ULONG_PTR m), (s, e, n, d, m))

static CK_RV our_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR s) {
  CK_RV rv = spoil("C_OpenSession");
  if (rv == CKR_OK) rv = real->C_OpenSession(slot, flags, app, notify, s);
  note("C_OpenSession", rv);
  return rv;
}

static CK_RV our_C_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
  CK_RV rv = spoil("C_Login");
  if (rv == CKR_OK) rv = real->C_Login(s, user, pin, length);
  note("C_Login", rv);
  return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  if (real == NULL) {
    void *module = dlopen(getenv("FAULT_MODULE"), RTLD_NOW);
    if (module == NULL) return CKR_GENERAL_ERROR;
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
    CK_RV rv = get(&real);
    if (rv != CKR_OK) return rv;
    ours = *real;
    ours.C_GetTokenInfo = our_C_GetTokenInfo;
    ours.C_GetSlotList = our_C_GetSlotList;
    ours.C_GetMechanismList = our_C_GetMechanismList;
    ours.C_GenerateKey = our_C_GenerateKey;
    ours.C_FindObjectsInit = our_C_FindObjectsInit;
    ours.C_EncryptInit = our_C_EncryptInit;
    ours.C_DecryptInit = our_C_DecryptInit;
    ours.C_Encrypt = our_C_Encrypt;
    ours.C_Decrypt = our_C_Decrypt;
    ours.C_OpenSession = our_C_OpenSession;
    ours.C_Login = our_C_Login;
  }
  *list = &ours;
  return CKR_OK;
}
